"""The recipes of FastV."""

from __future__ import annotations

from scope_core.parts import Recipe

PAPER = "FastV, ECCV 2024, arXiv 2403.06764"
ABOUT = (
    "FastV rewards the visual tokens that the prompt attends to most in the second layer of the language model, and "
    "drops the others after it. Use it to prune by the question without any signal from the vision tower; all tokens "
    "still pass through two layers."
)
FORMULA = """\
keep = the K tokens with the highest a_j
a: attention in layer 1, counted from 0, from the prompt's tokens, mean over both"""
CODE = "https://github.com/pkunlp-icler/FastV"

FASTV = {
    "saliency": {"name": "prompt_attention", "layer": 1, "queries": "all", "heads": "mean"},
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": {"name": "ratio", "keep_ratio": 0.5},
    "positions": "original",
    "at": "decoder[2]",
}

RECIPES = (
    Recipe(
        "fastv",
        FASTV,
        "the tokens the prompt attends to most in the second layer",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/fastv.md",
    ),
    Recipe(
        "fastv@official",
        {
            **FASTV,
            "saliency": {"name": "prompt_attention", "layer": 1, "queries": "last", "heads": "mean"},
            "budget": {"name": "staged", "ratios": [0.5], "rounding": "floor"},
            "dtype": "as_is",
        },
        "FastV as released: attention from the last token alone, in the model's dtype",
        paper=PAPER,
    ),
)
