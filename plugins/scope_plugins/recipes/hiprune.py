"""HiPrune keeps tokens that a middle layer of the tower attends to, their neighbours, and tokens of a deep layer.

Use it for towers with or without a CLS token: objects come from the middle layer, global context from the deep one.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import FLOORED, PER_IMAGE, top_k

PAPER = "HiPrune, arXiv 2508.00553"


def _selector(middle: int, **order: str) -> dict[str, Any]:
    anchors, rest = ({"name": "received_attention", "layer": layer, "heads": "mean"} for layer in (middle, -2))
    return {"name": "expand", "anchors": top_k(anchors | order), "rest": top_k(rest | order), "share": 0.1}


_SELECTOR = _selector(9)

HIPRUNE = {"selector": _SELECTOR, "partition": "tile", "budget": PER_IMAGE, "at": "vision"}

RECIPES = (
    Recipe(
        "hiprune",
        HIPRUNE,
        "tokens that a middle layer attends to, with their neighbours, then those that a deep layer attends to",
        paper=PAPER,
    ),
    Recipe(
        "hiprune@no_cls",
        {**HIPRUNE, "selector": _selector(16)},
        "HiPrune as released for Qwen2.5-VL: the middle layer is 16 of 32 instead of 9 of 24",
        paper=PAPER,
    ),
    Recipe(
        "hiprune@official",
        {**HIPRUNE, "selector": {**_selector(9, first="heads"), "wrap": True}, "budget": FLOORED, "dtype": "as_is"},
        "HiPrune as released: neighbours by token number, counts rounded down for each tile, the tower's precision",
        paper=PAPER,
    ),
)
