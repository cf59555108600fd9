"""Built-in combiners."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.combiner.coverage_only import CoverageOnly, CoverageOnlySpec
from scope_plugins.combiner.product import Product, ProductSpec
from scope_plugins.combiner.saliency_only import SaliencyOnly, SaliencyOnlySpec
from scope_plugins.combiner.sum import Sum, SumSpec


@hookimpl
def scope_combiners() -> Iterable[Entry]:
    """Product, sum, and each side alone."""
    yield Entry(ProductSpec, Product, "gain x saliency^alpha", paper="SCOPE, arXiv 2510.24214", default=True)
    yield Entry(SumSpec, Sum, "gain + (saliency / normaliser)^alpha", paper="SCOPE, arXiv 2510.24214, ablation")
    yield Entry(SaliencyOnlySpec, SaliencyOnly, "saliency alone; the similarity matrix is never made")
    yield Entry(CoverageOnlySpec, CoverageOnly, "gain alone; the saliency source is never asked")
