"""Built-in selectors."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_selectors() -> Iterable[Entry]:
    """Four parts and an optimizer, and selectors one after another."""
    yield Entry(
        "scope_plugins.selector.composite:Composite",
        "composite",
        "saliency, similarity, coverage and combiner, with an optimizer",
        default=True,
    )
    yield Entry(
        "scope_plugins.selector.chain:Chain",
        "chain",
        "selectors one after another on what is left, each with its share of the budget",
    )
    yield Entry(
        "scope_plugins.selector.bipartite:Bipartite",
        "bipartite",
        "backward: of matched tokens, the most alike are dropped or folded round by round",
        paper="ToMe, arXiv 2210.09461; VisPruner, arXiv 2412.01818",
    )
    yield Entry(
        "scope_plugins.selector.quota:Quota",
        "quota",
        "the group cut into pieces that share the budget by their score, a selector inside each",
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
        "the tokens that stand out, then a grid whose density follows from how many they are",
        paper="PruMerge+, arXiv 2403.15388",
    )
    yield Entry(
        "scope_plugins.selector.pivots:Pivots",
        "pivots",
        "a few pivots of image and text, and for each the tokens least like it",
        paper="DART, arXiv 2502.11494",
    )
