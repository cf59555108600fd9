"""The recipes of VisPruner."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, top_k, without_cls

PAPER = "VisPruner, ICCV 2025, arXiv 2412.01818v2"
ABOUT = (
    "VisPruner rewards attention from CLS with half of the budget, and with the other half tokens of the rest that "
    "have no near copy. Use it with towers that have a CLS token (`vispruner@no_cls` with others), where attention "
    "alone would keep near copies."
)
FORMULA = """\
half of K  = the tokens with the highest a_j
other half = what is left after dropping, 8 a round, those most like another
a: attention from CLS, mean over heads; similarity: cosine of tower features"""
CODE = "https://github.com/Theia-4869/VisPruner"

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
    about=ABOUT,
    formula=FORMULA,
    code=CODE,
    differences="scope_plugins.recipes:differences/vispruner.md",
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
