"""SCOPE keeps tokens that are salient and together cover the whole image.

Use it by default, or `scope@no_cls` for towers without a CLS token. `top_k_attention` and `coverage_only` are its
saliency and its coverage alone.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import FLOORED, without_cls

PAPER = "SCOPE, NeurIPS 2025, arXiv 2510.24214"
BUDGET = {"name": "tokens", "keep": 64, "per": "image"}

SCOPE = {
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
    "similarity": "cosine",
    "coverage": "facility_location",
    "combiner": {"name": "product", "alpha": 1.0},
    "optimizer": "greedy",
    "budget": BUDGET,
    "at": "vision",
}

_TOP_K = Recipe(
    "top_k_attention",
    {**SCOPE, "coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"},
    "the tokens CLS attends to most: SCOPE's saliency without its coverage",
    paper="FasterVLM, arXiv 2412.01818",
)

RECIPES = (
    Recipe("scope", SCOPE, "greedy by coverage gain x saliency^alpha", paper=PAPER),
    Recipe(
        "scope@no_cls",
        {**SCOPE, "saliency": {"name": "received_attention", "layer": -2, "heads": "sum"}},
        "SCOPE for towers without a CLS token: attention received from all tokens instead of attention from CLS",
        paper="SCOPE, arXiv 2510.24214; received attention as in HiPrune, arXiv 2508.00553",
    ),
    Recipe(
        "scope@by_tile",
        {**SCOPE, "partition": "tile"},
        "SCOPE in each tile by itself, so that tiles do not compete for the image's budget",
        paper=PAPER,
    ),
    Recipe(
        "scope@official",
        {**SCOPE, "partition": "tile", "budget": FLOORED, "dtype": "as_is"},
        "SCOPE as released: the tower's precision, floor(K / tiles) in each tile by itself",
        paper=PAPER,
    ),
    _TOP_K,
    without_cls(_TOP_K),
    Recipe(
        "coverage_only",
        {**SCOPE, "saliency": "uniform", "combiner": "coverage_only"},
        "SCOPE's coverage without its saliency; within 1 - 1/e of the best coverage",
        paper="SCOPE, arXiv 2510.24214, ablation",
        control=True,
    ),
)
