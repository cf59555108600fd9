"""ADTS keeps tokens that are salient and far from each other: attention times distance to the nearest kept token.

Use it for a few tokens of a scene with many objects, where near copies of salient tokens would waste the budget; SCOPE
represents the rest of the image as well. SCoRe is the same objective. `adts@no_cls` is for towers without a CLS token.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about, without_cls

FORMULA = """\
first pick = argmax of a_j * min over i != j of (1 - S_ij)
pick       = argmax of a_j * min over kept k of (1 - S_kj)
S: cosine of tower features; a: attention from CLS, mean over heads"""

ADTS = {
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "mean"},
    "similarity": "cosine",
    "coverage": "max_min",
    "combiner": {"name": "product", "alpha": 1.0},
    "optimizer": "greedy",
    "budget": PER_IMAGE,
    "at": "vision",
}

_RECIPE = Recipe(
    "adts",
    ADTS,
    "salient tokens far from each other: CLS attention times distance to the nearest kept token",
    paper="FlashVID, ICLR 2026 (attention and diversity); SCoRe, CVPR 2026 (weighted k-center)",
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
