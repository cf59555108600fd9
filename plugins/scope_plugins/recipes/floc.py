"""FLoC keeps tokens that represent the whole video: each pick raises most how well all tokens are represented.

Use it for long videos about which anything may be asked: it needs no attention and no question, and no frame has to
keep a token. Greedy picks are within 1 - 1/e of the best.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about

FORMULA = """\
c_i  = max(0, highest S_ik over kept k)
pick = argmax of the sum over all tokens i of the video of max(0, S_ij - c_i)
S: cosine of projected tokens"""

PAPER = "FLoC, ICLR 2026, arXiv 2511.00141"

FLOC: dict[str, Any] = {
    "saliency": "uniform",
    "similarity": "cosine",
    "coverage": "facility_location",
    "combiner": "coverage_only",
    "optimizer": "greedy",
    "budget": {"name": "ratio", "keep_ratio": 0.25, "per": "video"},
    "partition": "video",
    "at": "projected",
}

RECIPES = (
    Recipe(
        "floc",
        FLOC,
        "facility location over all frames of a video",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
    ),
)
