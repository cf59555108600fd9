"""Built-in mergers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_mergers() -> Iterable[Entry]:
    """No merging, and mergers that combine dropped tokens with kept ones or add rows for them."""
    yield Entry(
        "scope_plugins.merger.none:NoMerger",
        "none",
        "no merging: dropped tokens are discarded",
        paper="SCOPE, arXiv 2510.24214",
        default=True,
    )
    yield Entry(
        "scope_plugins.merger.pool:Pool", "pool", "kept rows become the means of the cells of a coarser token grid"
    )
    yield Entry(
        "scope_plugins.merger.average:Average",
        "average",
        "each kept token becomes the mean of itself and the dropped tokens assigned to it",
        paper="ToMe, arXiv 2210.09461",
    )
    yield Entry(
        "scope_plugins.merger.mean_add:MeanAdd",
        "mean_add",
        "the mean of the dropped tokens assigned to a kept one is added to it",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        "scope_plugins.merger.knn:Knn",
        "knn",
        "the nearest neighbours of each kept token are added to it, weighted by saliency",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.merger.residual:Residual",
        "residual",
        "one more row after those of another merger: the weighted sum of the dropped tokens",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.merger.keep_cls:KeepCls",
        "keep_cls",
        "one more row before those of another merger: the tower's CLS token",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        "scope_plugins.merger.density_clusters:DensityClusters",
        "density_clusters",
        "additional rows: the means of clusters of the best dropped tokens",
        paper="SparseVLM, arXiv 2410.04417",
    )
    yield Entry(
        "scope_plugins.merger.anchor_mean:AnchorMean",
        "anchor_mean",
        "anchors of a video's frames, each with the mean of the tokens of its scene that are most like it",
        paper="FastVID, arXiv 2503.11187",
    )
