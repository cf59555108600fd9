"""Built-in mergers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_mergers() -> Iterable[Entry]:
    """None: dropped tokens are gone, as in SCOPE."""
    yield Entry(
        "scope_plugins.merger.none:NoMerger",
        "none",
        "dropped tokens are gone",
        paper="SCOPE, arXiv 2510.24214",
        default=True,
    )
    yield Entry(
        "scope_plugins.merger.pool:Pool", "pool", "kept rows become the means of the cells of a coarser token grid"
    )
    yield Entry(
        "scope_plugins.merger.average:Average",
        "average",
        "kept tokens become the mean of themselves and the dropped ones that go to them",
        paper="ToMe, arXiv 2210.09461",
    )
    yield Entry(
        "scope_plugins.merger.mean_add:MeanAdd",
        "mean_add",
        "the mean of the dropped tokens that go to a kept one is added to it",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        "scope_plugins.merger.knn:Knn",
        "knn",
        "each kept token takes in its nearest neighbours, weighted by saliency",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.merger.residual:Residual",
        "residual",
        "one more row, the weighted sum of what was dropped, behind another merger's",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.merger.keep_cls:KeepCls",
        "keep_cls",
        "one more row, the tower's CLS token, before another merger's",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        "scope_plugins.merger.density_clusters:DensityClusters",
        "density_clusters",
        "the best dropped tokens come back as the means of their clusters, in rows of their own",
        paper="SparseVLM, arXiv 2410.04417",
    )
