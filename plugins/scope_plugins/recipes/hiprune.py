"""The recipes of HiPrune."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import FLOORED, PER_IMAGE, top_k

PAPER = "HiPrune, arXiv 2508.00553"
ABOUT = (
    "HiPrune rewards tokens that a middle layer of the tower attends to, with their neighbours, and then those that a "
    "deep layer attends to. Use it with towers with or without a CLS token: objects come from the middle layer, "
    "global context from the deep one."
)
FORMULA = """\
anchors = the round(0.1 K / 5) tokens with the highest m_j
keep    = anchors, their four neighbours in the grid, then the tokens with the highest d_j
m, d: attention received from all tokens in a middle and a deep layer, mean of heads"""
CODE = "https://github.com/Danielement321/HiPrune"

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
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/hiprune.md",
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
