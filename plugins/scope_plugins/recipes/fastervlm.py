"""FasterVLM keeps the tokens that the tower's CLS token attends to most.

Use it for towers with a CLS token (`fastervlm@no_cls` for others); similar tokens may all be kept.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, without_cls

PAPER = "FasterVLM, arXiv 2412.01818v1"

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

_RECIPE = Recipe("fastervlm", FASTERVLM, "the tokens CLS attends to most, in each tile", paper=PAPER)

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
