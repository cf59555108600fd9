"""HiPrune keeps tokens that a middle layer of the tower attends to, their neighbours, and tokens of a deep layer.

Use it for towers with or without a CLS token: objects come from the middle layer, global context from the deep one.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import FLOORED, PER_IMAGE, top_k

PAPER = "HiPrune, arXiv 2508.00553"

_SELECTOR = {
    "name": "expand",
    "anchors": top_k({"name": "received_attention", "layer": 9, "heads": "mean"}),
    "rest": top_k({"name": "received_attention", "layer": -2, "heads": "mean"}),
    "share": 0.1,
}

HIPRUNE = {"selector": _SELECTOR, "partition": "tile", "budget": PER_IMAGE, "at": "vision"}

_MIDDLE = {**_SELECTOR, "anchors": top_k({"name": "received_attention", "layer": 16, "heads": "mean"})}

RECIPES = (
    Recipe(
        "hiprune",
        HIPRUNE,
        "tokens that a middle layer attends to, with their neighbours, then those that a deep layer attends to",
        paper=PAPER,
    ),
    Recipe(
        "hiprune@no_cls",
        {**HIPRUNE, "selector": _MIDDLE},
        "HiPrune as released for Qwen2.5-VL: the middle layer is 16 of 32 instead of 9 of 24",
        paper=PAPER,
    ),
    Recipe(
        "hiprune@official",
        {**HIPRUNE, "selector": {**_SELECTOR, "wrap": True}, "budget": FLOORED, "dtype": "as_is"},
        "HiPrune as released: neighbours by token number, counts rounded down for each tile, the tower's precision",
        paper=PAPER,
    ),
)
