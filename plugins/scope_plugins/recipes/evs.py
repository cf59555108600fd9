"""EVS keeps the first frame of a video, and the tokens that change most from frame to frame.

Use it for videos, given as one prompt with several images.
"""

from __future__ import annotations

from scope_core.parts import Recipe

PAPER = "EVS, NVIDIA, arXiv 2510.14624"

EVS = {
    "saliency": {"name": "temporal_difference", "frame": "image"},
    "similarity": "cosine",
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": {"name": "ratio_with_frame", "keep_ratio": 0.25, "frame": "image"},
    "partition": "prompt",
    "constraints": [{"name": "first_frame", "frame": "image"}],
    "at": "projected",
}

RECIPES = (
    Recipe("evs", EVS, "the first frame, and the tokens that change most from frame to frame", paper=PAPER),
    Recipe("evs@official", {**EVS, "dtype": "as_is"}, "EVS as released: in the model's precision", paper=PAPER),
)
