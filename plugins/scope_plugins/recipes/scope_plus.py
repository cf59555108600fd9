"""SCOPE+ represents what the tower attends to: coverage of salient tokens by tokens whose keys are alike.

Use it for about 16 tokens of an image with several things in it; from 64 tokens on it answers about what SCOPE does.
It was found by a search on the validation scenes of this project's benchmark, and is published nowhere else.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about, without_cls

FORMULA = """\
c_i  = max(0, highest S_ik over kept k)
g_j  = sum over all i of a_i * max(0, S_ij - c_i)
pick = argmax of g_j * a_j^0.5
S: cosine of keys, all heads; a: attention from CLS, summed over heads"""

ATTENTION: dict[str, Any] = {"name": "cls_attention", "layer": -2, "heads": "sum"}
KEYS: dict[str, Any] = {"name": "keys_cosine", "layer": -2, "heads": "concat"}

SCOPE_PLUS: dict[str, Any] = {
    "saliency": ATTENTION,
    "similarity": KEYS,
    "coverage": {"name": "facility_location", "weights": ATTENTION},
    "combiner": {"name": "product", "alpha": 0.5},
    "optimizer": "greedy",
    "budget": PER_IMAGE,
    "at": "vision",
}

_RECIPE = Recipe(
    "scope_plus",
    SCOPE_PLUS,
    "coverage of what CLS attends to, by tokens alike in their keys",
    paper="this project, Search",
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
