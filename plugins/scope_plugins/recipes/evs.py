"""The recipes of EVS."""

from __future__ import annotations

from scope_core.parts import Recipe

PAPER = "EVS, NVIDIA, arXiv 2510.14624"
ABOUT = (
    "EVS rewards change: it keeps the first frame, and of later frames the tokens that differ most from those at the "
    "same place one frame before. Use it for videos, or for prompts that give frames as several images."
)
FORMULA = """\
a_j  = 1 - cos(x_j, token at the same place in the frame before)
keep = all tokens of the first frame, then those with the highest a_j
x: projected tokens"""
CODE = "https://github.com/vllm-project/vllm/pull/22980"

EVS = {
    "saliency": {"name": "temporal_difference", "frame": "image"},
    "similarity": "cosine",
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": {"name": "ratio_with_frame", "keep_ratio": 0.25, "frame": "image"},
    "partition": "video",
    "constraints": [{"name": "first_frame", "frame": "image"}],
    "at": "projected",
}

RECIPES = (
    Recipe(
        "evs",
        EVS,
        "the first frame, and the tokens that change most from frame to frame",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/evs.md",
    ),
    Recipe("evs@official", {**EVS, "dtype": "as_is"}, "EVS as released: in the model's precision", paper=PAPER),
)
