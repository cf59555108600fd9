"""FrameFusion merges tokens like those at their place one frame before, and keeps the salient ones of the rest.

Use it for videos in which much stands still, on any model with attention in its tower. The method works in the first
layers of the language model; this is the same before it.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
j is merged into i, at its place in the frame before, if S_ij >= 0.6; the most similar ones, until K are left
row = mean of a chain of merged tokens; if more than K are left, those with the highest a_j of the first token
S: cosine of projected tokens; a: attention that a token receives"""

PAPER = "FrameFusion, ICCV 2025, arXiv 2501.01986"

FRAMEFUSION: dict[str, Any] = {
    "selector": {
        "name": "trees",
        "link": "cell",
        "threshold": 0.6,
        "span": "any",
        "selector": top_k({"name": "received_attention", "layer": -2, "heads": "mean"}),
    },
    "merger": {"name": "average", "similarity": "cosine"},
    "budget": {"name": "ratio", "keep_ratio": 0.3, "per": "video"},
    "partition": "video",
    "at": "projected",
}

RECIPES = (
    Recipe(
        "framefusion",
        FRAMEFUSION,
        "tokens like those at their place one frame before merged, and the salient ones of the rest",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/thu-nics/FrameFusion",
        differences="scope_plugins.recipes:differences/framefusion.md",
    ),
)
