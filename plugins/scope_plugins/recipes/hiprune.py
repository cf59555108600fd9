"""The recipes of HiPrune."""

from __future__ import annotations

from typing import Any

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
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/hiprune.md",
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
