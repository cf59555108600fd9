"""CDPruner keeps tokens that are relevant to the question and unlike each other, by a conditional DPP.

Use it where the question is known when the image is pruned, and the model has a text encoder to match.
"""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}
PAPER = "CDPruner, NeurIPS 2025, arXiv 2506.10967"

RELEVANCE = {"name": "text_relevance", "sign": "negative", "chunks": "mean"}
SALIENCY = {"name": "scaled", "of": RELEVANCE, "scale": "min_max"}
CDPRUNER = {
    "saliency": SALIENCY,
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
            "saliency": {**SALIENCY, "over": "call", "offset": 1e-6},
            "similarity": "plain_cosine",
            "coverage": "log_det_float32",
            "combiner": {"name": "kernel", "plain": True},
            "partition": "tile",
            "budget": {**BUDGET, "per": "tile"},
            "dtype": "as_is",
        },
        "CDPruner as released: K tokens per crop, relevance scaled over all crops of the call, float32 determinants",
        paper=PAPER,
    ),
    Recipe(
        "cdpruner@openvino",
        {**CDPRUNER, "combiner": {"name": "kernel", "share": 0.5}},
        "CDPruner as in OpenVINO GenAI: relevance counts for half of the kernel (its relevance_weight)",
        paper=f"{PAPER}; OpenVINO GenAI, visual token pruning",
    ),
)
