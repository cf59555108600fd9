"""CDPruner keeps tokens that are relevant to the question and unlike each other, by a conditional DPP.

Use it where the question is known when the image is pruned, and the model has a text encoder to match.
"""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}
PAPER = "CDPruner, NeurIPS 2025, arXiv 2506.10967"

RELEVANCE = {"name": "text_relevance", "sign": "negative", "chunks": "mean"}
CDPRUNER = {
    "saliency": {"name": "scaled", "of": RELEVANCE, "scale": "min_max"},
    "similarity": "cosine",
    "coverage": "log_det",
    "combiner": "kernel",
    "optimizer": "greedy",
    "budget": BUDGET,
    "at": "projected",
}

RECIPES = (
    Recipe("cdpruner", CDPRUNER, "tokens relevant to the text and unlike each other, by a determinant", paper=PAPER),
    Recipe(
        "cdpruner@official",
        {
            **CDPRUNER,
            "saliency": {**CDPRUNER["saliency"], "over": "call", "offset": 1e-6},  # type: ignore[dict-item]
            "partition": "tile",
            "budget": {**BUDGET, "per": "tile"},
        },
        "CDPruner as released: K tokens per crop, relevance scaled over all crops of the call",
        paper=PAPER,
    ),
)
