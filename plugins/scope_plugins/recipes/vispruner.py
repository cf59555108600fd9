"""VisPruner keeps the tokens that CLS attends to most, and diverse ones among the rest.

Use it for towers with a CLS token (`vispruner@no_cls` for others), where attention alone would keep near copies.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, top_k, without_cls

PAPER = "VisPruner, ICCV 2025, arXiv 2412.01818v2"

_ATTENTION = {"name": "cls_attention", "layer": -2, "heads": "mean"}

VISPRUNER = {
    "selector": {
        "name": "chain",
        "stages": [
            top_k(_ATTENTION),
            {
                "name": "bipartite",
                "similarity": "cosine",
                "order_by": _ATTENTION,
                "per_round": 8,
                "after_round": "evens_first",
            },
        ],
        "shares": [1.0, 1.0],
        "rounding": "floor",
    },
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "vision",
}

_RECIPE = Recipe(
    "vispruner",
    VISPRUNER,
    "half by CLS attention; half by dropping, round by round, the most similar of the other tokens",
    paper=PAPER,
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "vispruner@official",
        {**VISPRUNER, "budget": PER_TILE, "dtype": "as_is"},
        "VisPruner as released: the tower's precision, one budget for each tile",
        paper=PAPER,
    ),
)
