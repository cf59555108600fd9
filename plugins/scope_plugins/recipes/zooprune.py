"""ZOO-Prune keeps tokens that the projector is sensitive to, far from each other.

Use it for towers without a CLS token, or where attention misleads: it asks the projector instead of any attention. Your
model's projector is given as a signal, see `projector_sensitivity`.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about

FORMULA = """\
first pick = argmax of s_j * min over i != j of (1 - S_ij)
pick       = argmax of s_j * min over kept k of (1 - S_kj)
S: cosine of tower features; s: change of the projector's output under small changes of token j"""

ZOOPRUNE: dict[str, Any] = {
    "saliency": "projector_sensitivity",
    "similarity": "cosine",
    "coverage": "max_min",
    "combiner": "product",
    "optimizer": "greedy",
    "budget": PER_IMAGE,
    "at": "vision",
}

RECIPES = (
    Recipe(
        "zooprune",
        ZOOPRUNE,
        "greedy by the projector's sensitivity x distance to the nearest kept token",
        paper="ZOO-Prune, CVPR 2026, arXiv 2509.24837",
        about=about(__doc__),
        formula=FORMULA,
    ),
)
