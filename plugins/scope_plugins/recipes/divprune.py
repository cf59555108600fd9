"""The recipes of DivPrune."""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}
PAPER = "DivPrune, CVPR 2025, arXiv 2503.02175"
ABOUT = (
    "DivPrune rewards distance: each pick is the token farthest from the tokens kept so far. Use it with any encoder, "
    "since it reads projected features only, no attention and no text."
)
FORMULA = """\
first pick = argmax of min over i != j of (1 - S_ij)
pick       = argmax of min over kept k of (1 - S_kj)
S: cosine of projected tokens"""
CODE = "https://github.com/vbdi/divprune"

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
    Recipe(
        "divprune",
        DIVPRUNE,
        "the tokens farthest apart, on projected features",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/divprune.md",
    ),
    Recipe(
        "divprune@official",
        {**DIVPRUNE, "budget": {"name": "ratio", "keep_ratio": 0.098, "per": "image"}, "dtype": "as_is"},
        "DivPrune as released: a share of the image's tokens, in the model's precision",
        paper=PAPER,
    ),
)
