"""FEATHER keeps tokens that fit the question, without regard to their position, and evenly spaced ones.

Use it where pruning by attention loses the top of the image: queries and keys are compared before the rotary embedding,
and a grid of tokens stays until the second stage.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
before layer 8: an even grid, and the largest q . k_j; before layer 16: the largest q . k_j
q, k: query of the last token and keys before the rotary embedding"""

PAPER = "FEATHER, ICCV 2025, arXiv 2412.13180"

_GRID: dict[str, Any] = {
    "name": "composite",
    "saliency": "uniform",
    "similarity": "cosine",
    "coverage": "modular",
    "combiner": "coverage_only",
    "optimizer": "grid",
}


def _fitting(layer: int) -> dict[str, Any]:
    return top_k({"name": "content_attention", "layer": layer, "queries": "last", "heads": "mean"})


# of 576: 64 evenly spaced and 172 by attention, then 9% of the image
FEATHER: dict[str, Any] = {
    "selector": {"name": "chain", "stages": [_GRID, _fitting(7)], "shares": [64, 172]},
    "budget": {"name": "ratio", "keep_ratio": 0.41},
    "positions": "original",
    "at": "decoder[8]",
    "then": [{"at": "decoder[16]", "selector": _fitting(15), "budget": {"name": "ratio", "keep_ratio": 0.22}}],
}

RECIPES = (
    Recipe(
        "feather",
        FEATHER,
        "evenly spaced tokens and those of highest attention without positions, twice",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
    ),
)
