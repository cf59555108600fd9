"""FastV drops half of the visual tokens after the second layer of the language model: those that get least attention.

Use it to prune by the question without any signal from the vision tower; all tokens still pass through two layers.
"""

from __future__ import annotations

from scope_core.parts import Recipe

PAPER = "FastV, ECCV 2024, arXiv 2403.06764"

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
    Recipe("fastv", FASTV, "the tokens the prompt attends to most in the second layer", paper=PAPER),
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
