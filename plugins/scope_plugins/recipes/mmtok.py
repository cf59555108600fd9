"""The recipes of MMTok."""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}
PAPER = "MMTok, ICLR 2026, arXiv 2508.18264"
ABOUT = (
    "MMTok rewards tokens that cover both the words of the question and the other tokens of the image. Use it where "
    "the question is known when the image is pruned, and its embeddings can be compared with the image's."
)
FORMULA = """\
f(kept) = mean over words t of the highest T_tk over kept k
          + 0.5 * mean over tokens i of the highest V_ik over kept k
pick    = argmax of the gain in f
T: softmax of cosines / 0.02, words against projected tokens
V: softmax of cosines / 0.2, tower features against each other"""
CODE = "https://github.com/Ironieser/MMTok"

TEXT = {"name": "text_facility_location", "against": "features", "temperature": 0.02, "rows": "mean"}
TOWER = {"name": "signal_cosine", "of": "vision.hidden[-2]"}
SIMILARITY = {"name": "row_softmax", "of": TOWER, "temperature": 0.2, "joint": True}
MMTOK = {
    "saliency": "uniform",
    "similarity": SIMILARITY,
    "coverage": {"name": "stacked", "of": [TEXT, "facility_location"], "weights": [1.0, 0.5]},
    "combiner": "coverage_only",
    "optimizer": "greedy",
    "budget": BUDGET,
    "at": "projected",
}

RECIPES = (
    Recipe(
        "mmtok",
        MMTOK,
        "coverage of the text's tokens and of the image's tokens, together",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/mmtok.md",
    ),
    Recipe(
        "mmtok@official",
        {
            **MMTOK,
            "similarity": {**SIMILARITY, "of": {"name": "plain_cosine", "of": "vision.hidden[-2]"}},
            "partition": "tile",
            "budget": {**BUDGET, "per": "tile"},
            "dtype": "as_is",
        },
        "MMTok as released: K tokens per crop, vectors scaled to length 1 in the model's precision",
        paper=PAPER,
    ),
)
