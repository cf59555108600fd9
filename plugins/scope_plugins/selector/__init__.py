"""Built-in selectors."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_selectors() -> Iterable[Entry]:
    """Four parts with an optimizer, selectors one after another, and others."""
    yield Entry(
        "scope_plugins.selector.composite:Composite",
        "composite",
        "saliency, similarity, coverage and combiner, with an optimizer",
        default=True,
    )
    yield Entry(
        "scope_plugins.selector.chain:Chain",
        "chain",
        "selectors one after another, each with its share of the budget, blind to earlier picks or starting from them",
    )
    yield Entry(
        "scope_plugins.selector.bipartite:Bipartite",
        "bipartite",
        "matched pairs of tokens: the most similar lose one token, dropped or merged, round by round",
        paper="ToMe, arXiv 2210.09461; VisPruner, arXiv 2412.01818",
    )
    yield Entry(
        "scope_plugins.selector.quota:Quota",
        "quota",
        "pieces of a group that share the budget by their score, with a selector inside each",
        paper="HoloV, arXiv 2510.02912",
    )
    yield Entry(
        "scope_plugins.selector.expand:Expand",
        "expand",
        "some tokens with their neighbours in the grid, then others",
        paper="HiPrune, arXiv 2508.00553",
    )
    yield Entry(
        "scope_plugins.selector.grid_fill:GridFill",
        "grid_fill",
        "saliency outliers, then a grid whose density follows from their number",
        paper="PruMerge+, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.selector.pivots:Pivots",
        "pivots",
        "a few pivots of image and text, and for each the tokens least like it",
        paper="DART, arXiv 2502.11494",
    )
    yield Entry(
        "scope_plugins.selector.anchors:Anchors",
        "anchors",
        "salient tokens, as many as until several differ from the first ones",
        paper="AnchorPrune, arXiv 2607.07033",
    )
    yield Entry(
        "scope_plugins.selector.portion:Portion",
        "portion",
        "a part of the tokens asked for, by a statistic of the image, with another selector",
        paper="PromPrune, arXiv 2603.14892",
    )
    yield Entry(
        "scope_plugins.selector.suppress:Suppress",
        "suppress",
        "salient tokens, each of which suppresses those too similar to it",
        paper="PruneSID, arXiv 2603.09480; D2Pruner, arXiv 2512.19443",
    )
    yield Entry(
        "scope_plugins.selector.frame_quota:FrameQuota",
        "frame_quota",
        "frames that share the budget by their score, and the tokens of highest saliency in each",
        paper="VidCom2, arXiv 2505.14454; V-CAST, arXiv 2603.27650",
    )
    yield Entry(
        "scope_plugins.selector.frame_sample:FrameSample",
        "frame_sample",
        "another selector, on evenly spaced frames or on every n-th frame",
    )
    yield Entry(
        "scope_plugins.selector.density_peaks:DensityPeaks",
        "density_peaks",
        "tokens in dense places that are far from any denser one",
        paper="FastVID, arXiv 2503.11187",
    )
    yield Entry(
        "scope_plugins.selector.trees:Trees",
        "trees",
        "tokens that look alike from frame to frame merged into one, with a selector among what is left",
        paper="FlashVID, ICLR 2026; HoliTom, arXiv 2505.21334; FrameFusion, arXiv 2501.01986",
    )
