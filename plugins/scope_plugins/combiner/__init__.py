"""Built-in combiners."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.combiner.balance import Balance, BalanceSpec
from scope_plugins.combiner.coverage_only import CoverageOnly, CoverageOnlySpec
from scope_plugins.combiner.kernel import Kernel, KernelSpec
from scope_plugins.combiner.product import Product, ProductSpec
from scope_plugins.combiner.saliency_only import SaliencyOnly, SaliencyOnlySpec
from scope_plugins.combiner.sum import Sum, SumSpec


@hookimpl
def scope_combiners() -> Iterable[Entry]:
    """Product, sums, each side alone, and saliency inside the similarity."""
    yield Entry(ProductSpec, Product, "gain x saliency^alpha", paper="SCOPE, arXiv 2510.24214", default=True)
    yield Entry(SumSpec, Sum, "gain + (saliency / normaliser)^alpha", paper="SCOPE, arXiv 2510.24214, ablation")
    yield Entry(SaliencyOnlySpec, SaliencyOnly, "saliency alone; the similarity matrix is never made")
    yield Entry(CoverageOnlySpec, CoverageOnly, "gain alone; the saliency source is never asked")
    yield Entry(BalanceSpec, Balance, "share x saliency + (1 - share) x gain", paper="Carbonell and Goldstein 1998")
    yield Entry(
        KernelSpec,
        Kernel,
        "similarity weighted by the saliency of both tokens, for determinants",
        paper="CDPruner, arXiv 2506.10967",
    )
