"""The recipes of CDPruner."""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}
PAPER = "CDPruner, NeurIPS 2025, arXiv 2506.10967"
ABOUT = (
    "CDPruner rewards sets of tokens that are relevant to the question and unlike each other, by the determinant of "
    "their similarities weighted by relevance. Use it where the question is known when the image is pruned, and the "
    "model has a text encoder that matches its vision tower."
)
FORMULA = """\
pick = argmax of det(L over the kept tokens and j)
L_ij = r_i * S_ij * r_j
S: cosine of projected tokens
r: minus the cosine of token and text in CLIP's space, scaled to [0, 1]"""
CODE = "https://github.com/Theia-4869/CDPruner"

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
    Recipe(
        "cdpruner",
        CDPRUNER,
        "tokens relevant to the text and unlike each other, by a determinant",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/cdpruner.md",
    ),
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
