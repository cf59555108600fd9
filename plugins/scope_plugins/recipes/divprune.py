"""DivPrune keeps the tokens that are farthest apart from each other.

Use it for any encoder: it reads projected features only, no attention and no text.
"""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}
PAPER = "DivPrune, CVPR 2025, arXiv 2503.02175"

DIVPRUNE = {
    "saliency": "uniform",
    "similarity": "cosine",
    "coverage": "max_min",
    "combiner": "coverage_only",
    "optimizer": "greedy",
    "budget": BUDGET,
    "at": "projected",
}

RECIPES = (
    Recipe("divprune", DIVPRUNE, "the tokens farthest apart, on projected features", paper=PAPER),
    Recipe(
        "divprune@official",
        {**DIVPRUNE, "budget": {"name": "ratio", "keep_ratio": 0.098, "per": "image"}, "dtype": "as_is"},
        "DivPrune as released: a share of the image's tokens, in the model's precision",
        paper=PAPER,
    ),
)
