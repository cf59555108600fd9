"""OTPrune keeps tokens whose distribution is closest to that of all tokens, by a determinant of second order.

Use it for any encoder: it reads projected features only, and unlike DivPrune it prefers directions that much of the
image lies in over single outliers.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about

FORMULA = """\
greedy on log det of (I + gamma * G G^T) of the kept rows and columns
G = X X^T of tokens scaled by channel; gamma: 0.01"""

PAPER = "OTPrune, CVPR 2026, arXiv 2602.20205"

OTPRUNE: dict[str, Any] = {
    "saliency": "uniform",
    "similarity": {"name": "gram_squared", "gamma": 0.01},
    "coverage": "log_det",
    "combiner": "coverage_only",
    "optimizer": "greedy",
    "budget": PER_IMAGE,
    "at": "projected",
}

RECIPES = (
    Recipe(
        "otprune",
        OTPRUNE,
        "the tokens that span what all tokens span, weighted by how much lies in each direction",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/xiwenc1/OTPrune",
        differences="scope_plugins.recipes:differences/otprune.md",
    ),
    Recipe(
        "otprune@scaled",
        {**OTPRUNE, "similarity": {**OTPRUNE["similarity"], "channels": 4096}},
        "OTPrune with gamma for the model's width: 0.01 for 4096 channels, more for fewer",
        paper=PAPER,
    ),
)
