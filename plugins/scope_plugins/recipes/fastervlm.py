"""The recipes of FasterVLM."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, without_cls

PAPER = "FasterVLM, arXiv 2412.01818v1"
ABOUT = (
    "FasterVLM rewards the tokens that the tower's CLS token attends to most, in each tile by itself. Use it with "
    "towers that have a CLS token (`fastervlm@no_cls` with others) and where selection must cost nothing; similar "
    "tokens may all be kept."
)
FORMULA = """\
keep = the K tokens with the highest a_j
a: attention from CLS, mean over heads"""
CODE = "https://github.com/Theia-4869/FasterVLM"

FASTERVLM = {
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "mean"},
    "similarity": "cosine",
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "vision",
}

_RECIPE = Recipe(
    "fastervlm",
    FASTERVLM,
    "the tokens CLS attends to most, in each tile",
    paper=PAPER,
    about=ABOUT,
    formula=FORMULA,
    code=CODE,
    differences="scope_plugins.recipes:differences/fastervlm.md",
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "fastervlm@official",
        {**FASTERVLM, "budget": PER_TILE, "dtype": "as_is"},
        "FasterVLM as released: the tower's precision, one budget for each tile",
        paper=PAPER,
    ),
)
