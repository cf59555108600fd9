"""Built-in mergers."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.merger.average import Average, AverageSpec
from scope_plugins.merger.density_clusters import DensityClusters, DensityClustersSpec
from scope_plugins.merger.keep_cls import KeepCls, KeepClsSpec
from scope_plugins.merger.knn import Knn, KnnSpec
from scope_plugins.merger.mean_add import MeanAdd, MeanAddSpec
from scope_plugins.merger.none import NoMerger, NoMergerSpec
from scope_plugins.merger.pool import Pool, PoolSpec
from scope_plugins.merger.residual import Residual, ResidualSpec


@hookimpl
def scope_mergers() -> Iterable[Entry]:
    """None: dropped tokens are gone, as in SCOPE."""
    yield Entry(NoMergerSpec, NoMerger, "dropped tokens are gone", paper="SCOPE, arXiv 2510.24214", default=True)
    yield Entry(PoolSpec, Pool, "kept rows become the means of the cells of a coarser token grid")
    yield Entry(
        AverageSpec,
        Average,
        "kept tokens become the mean of themselves and the dropped ones that go to them",
        paper="ToMe, arXiv 2210.09461",
    )
    yield Entry(
        MeanAddSpec,
        MeanAdd,
        "the mean of the dropped tokens that go to a kept one is added to it",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        KnnSpec,
        Knn,
        "each kept token takes in its nearest neighbours, weighted by saliency",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        ResidualSpec,
        Residual,
        "one more row, the weighted sum of what was dropped, behind another merger's",
        paper="PruMerge, arXiv 2403.15388",
    )
    yield Entry(
        KeepClsSpec,
        KeepCls,
        "one more row, the tower's CLS token, before another merger's",
        paper="VisionZip, arXiv 2412.04467",
    )
    yield Entry(
        DensityClustersSpec,
        DensityClusters,
        "the best dropped tokens come back as the means of their clusters, in rows of their own",
        paper="SparseVLM, arXiv 2410.04417",
    )
