"""The recipes of VisionZip."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, STRIDE, top_k, without_cls

PAPER = "VisionZip, CVPR 2025, arXiv 2412.04467"
ABOUT = (
    "VisionZip rewards attention from CLS, and merges all other tokens into a few evenly spaced ones. Use it where a "
    "summary of the dropped tokens should remain; `visionzip@no_cls` is for towers without a CLS token."
)
FORMULA = """\
dominant   = the tokens with the highest a_j, 5.4 of every 6.4 picks
contextual = evenly spaced tokens of the rest, each plus the mean of the dropped tokens
             nearest to it by keys
rows       = CLS, dominant, contextual
a: attention from CLS, summed over heads"""
CODE = "https://github.com/JIA-Lab-research/VisionZip"

# 54 + 10, 108 + 20 and 162 + 30 rows in the paper; the first number counts CLS
VISIONZIP = {
    "selector": {
        "name": "chain",
        "stages": [top_k({"name": "cls_attention", "layer": -2, "heads": "sum"}), STRIDE],
        "shares": [5.4, 1.0],
    },
    "merger": {
        "name": "keep_cls",
        "layer": -2,
        "merger": {
            "name": "mean_add",
            "similarity": {"name": "keys_cosine", "layer": -2, "heads": "mean"},
            "stage": 1,
        },
    },
    "partition": "tile",
    "budget": PER_IMAGE,
    "order": "stages",
    "at": "vision",
}

_RECIPE = Recipe(
    "visionzip",
    VISIONZIP,
    "CLS, the tokens it attends to most, and evenly spaced ones that the rest is merged into by key similarity",
    paper=PAPER,
    about=ABOUT,
    formula=FORMULA,
    code=CODE,
    differences="scope_plugins.recipes:differences/visionzip.md",
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "visionzip@official",
        {**VISIONZIP, "budget": PER_TILE, "dtype": "as_is"},
        "VisionZip as released: the tower's precision, one budget for each tile",
        paper=PAPER,
    ),
)
