"""LLaVA-Scissor, on images: one token for each connected component of similar tokens, and the others merged into it.

Use it where the number of things in an image should decide how many tokens it keeps: needs no attention, no question
and no tower of a certain kind. Plans state the budget as an upper bound.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about

FORMULA = """\
components of the graph of S_ij above a threshold: one token of each
row = mean of the token and those merged into it
S: cosine of projected tokens"""

PAPER = "LLaVA-Scissor, arXiv 2506.21862"

SCISSOR: dict[str, Any] = {
    "selector": {
        "name": "quota",
        "partition": {"name": "components", "similarity": "cosine", "threshold": 0.95},
        "saliency": "uniform",
        "of_piece": "sum",  # if there are more components than tokens to keep, the largest keep one
        "most": 1,
        "selector": {  # the token most like the others of its component
            "name": "composite",
            "saliency": "uniform",
            "similarity": "cosine",
            "coverage": "facility_location",
            "combiner": "coverage_only",
            "optimizer": "greedy",
        },
    },
    "merger": {"name": "average", "similarity": "cosine"},
    "budget": {**PER_IMAGE, "keep": 192, "if_short": "keep_all"},
    "at": "projected",
}

RECIPES = (
    Recipe(
        "scissor",
        SCISSOR,
        "one token for each connected component of similar tokens, others merged into the nearest",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
    ),
)
