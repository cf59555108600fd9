"""VisPruner: important tokens, and diverse ones from the rest."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, top_k

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

RECIPES = (
    Recipe(
        "vispruner",
        VISPRUNER,
        "half by CLS attention; of the rest, what is left when the most alike are dropped round by round",
        paper=PAPER,
    ),
    Recipe(
        "vispruner@official",
        {**VISPRUNER, "budget": PER_TILE, "dtype": "as_is"},
        "VisPruner as released: the tower's precision, a budget for each tile",
        paper=PAPER,
    ),
)
