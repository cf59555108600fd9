"""Built-in combiners."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_combiners() -> Iterable[Entry]:
    """Product, sums, gain or saliency alone, and saliency inside the similarity."""
    yield Entry(
        "scope_plugins.combiner.product:Product",
        "product",
        "gain x saliency^alpha",
        paper="SCOPE, arXiv 2510.24214",
        default=True,
    )
    yield Entry(
        "scope_plugins.combiner.sum:Sum",
        "sum",
        "gain + (saliency / normaliser)^alpha",
        paper="SCOPE, arXiv 2510.24214, ablation",
    )
    yield Entry(
        "scope_plugins.combiner.saliency_only:SaliencyOnly",
        "saliency_only",
        "saliency alone; the similarity matrix is never computed",
    )
    yield Entry(
        "scope_plugins.combiner.coverage_only:CoverageOnly",
        "coverage_only",
        "gain alone; the saliency is never computed",
    )
    yield Entry(
        "scope_plugins.combiner.balance:Balance",
        "balance",
        "share x saliency + (1 - share) x gain",
        paper="Carbonell and Goldstein 1998",
    )
    yield Entry(
        "scope_plugins.combiner.kernel:Kernel",
        "kernel",
        "similarity weighted by the saliency of both tokens, for determinants",
        paper="CDPruner, arXiv 2506.10967",
    )
