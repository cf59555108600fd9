"""V-CAST keeps more tokens of frames at which a video takes a turn, and of each those that stand out from its mean.

Use it for videos with cuts and events, on models without attention at hand: it reads the tokens alone, and is linear in
the number of frames.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about

FORMULA = """\
c_f  = 1 - cos(m_f - m_(f-1), m_(f+1) - m_f); 1 at both ends
frame f keeps 1 + (K - F) softmax(c / 0.7)_f tokens
s_j  = 1 - cos(x_j, m_f) + min-max of |x_j| in the frame
m_f: mean token of frame f, at length 1; F frames"""

PAPER = "V-CAST, arXiv 2603.27650"

VCAST: dict[str, Any] = {
    "selector": {
        "name": "frame_quota",
        "saliency": {
            "name": "per_frame",
            "of": {"name": "blend", "of": ["mean_distance", {"name": "scaled", "of": "feature_norm"}]},
        },
        "of_frame": "frame_curvature",
        "curve": "softmax",
        "temperature": 0.7,
        "base": 1,
    },
    "budget": {"name": "ratio", "keep_ratio": 0.25, "per": "video"},
    "partition": "video",
    "at": "projected",
}

RECIPES = (
    Recipe(
        "vcast",
        VCAST,
        "tokens that stand out from their frame; frames at which the video turns keep more",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/xinyouu/V-CAST",
        differences="scope_plugins.recipes:differences/vcast.md",
    ),
    Recipe(
        "vcast@official",
        {**VCAST, "selector": {**VCAST["selector"], "rounding": "one"}},
        "V-CAST as released: what rounding leaves goes to one frame",
        paper=PAPER,
    ),
)
