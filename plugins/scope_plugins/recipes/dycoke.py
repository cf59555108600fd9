"""DyCoke keeps one frame of every four whole, and of the others what changed since then.

Use it for videos that stand still for a second or two at a time. This is the part of the method before the language
model; its pruning of the cache while decoding is not.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about

FORMULA = """\
in windows of four frames: frame 0 whole
a_j  = 1 - cos(x_j, token at its place): frames 1 and 2 against 0, frame 3 against 2
keep = in each of frames 1 to 3, as many tokens with the highest a_j"""

PAPER = "DyCoke, CVPR 2025, arXiv 2411.15024"

DYCOKE: dict[str, Any] = {
    "selector": {"name": "frame_quota", "saliency": "window_difference", "curve": "equal"},
    "constraints": [{"name": "window_start", "window": 4}],
    "budget": {"name": "ratio_with_frame", "keep_ratio": 0.475, "window": 4},  # 1 + 3 x 0.3 of 4 frames
    "partition": "video",
    "at": "projected",
}

RECIPES = (
    Recipe(
        "dycoke",
        DYCOKE,
        "one frame of every four, and what changed in the others",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/KD-TAO/DyCoke",
        differences="scope_plugins.recipes:differences/dycoke.md",
    ),
)
