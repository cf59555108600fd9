"""VidCom2 keeps, of every frame, the tokens that are least like the rest of the video and of their frame.

Use it for videos in which most of the picture repeats: frames that are unlike the others keep more tokens. It needs no
attention and no question.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about

FORMULA = """\
v_j, f_j = sum over w of exp(-|u_j - centre|^2 / (2 w)); centre of the video, of the frame
frame f keeps K (1 + p_f - 1/F) / F tokens, p = softmax over frames of mean -v_j / 0.01
keep = in each frame, the tokens with the lowest v_j + f_j
u: the half of the channels of lowest variance, at length 1; w: 1/8 to 2; F frames"""

PAPER = "VidCom2, EMNLP 2025, arXiv 2505.14454"

VIDCOM2: dict[str, Any] = {
    "selector": {
        "name": "frame_quota",
        "saliency": "gaussian_contrast",
        "of_frame": {"name": "gaussian_contrast", "centre": "video"},
        "curve": "raised",
        "temperature": 0.01,
    },
    "budget": {"name": "ratio", "keep_ratio": 0.25, "per": "video"},
    "partition": "video",
    "at": "projected",
}

RECIPES = (
    Recipe(
        "vidcom2",
        VIDCOM2,
        "tokens least like their video and their frame; unusual frames keep more",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/xuyang-liu16/VidCom2",
        differences="scope_plugins.recipes:differences/vidcom2.md",
    ),
)
