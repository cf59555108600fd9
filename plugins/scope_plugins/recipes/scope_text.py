"""SCOPE-text represents what both the tower and the question point at: SCOPE+ with attention times relevance.

Use it where the question is known when the image is pruned, and the projector maps patches near the words that name
them. Each question chooses its own tokens, so it cannot be served where images are encoded apart from prompts.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, without_cls
from scope_plugins.recipes.scope_plus import ATTENTION, SCOPE_PLUS

FORMULA = """\
c_i  = max(0, highest S_ik over kept k)
g_j  = sum over all i of b_i * max(0, S_ij - c_i)
pick = argmax of g_j * b_j^0.5
b: attention from CLS times relevance, each over its mean
r_j: sum over words of softmax over tokens of cosine / 0.05, word against projected token
S: cosine of keys, all heads"""

BOTH: dict[str, Any] = {
    "name": "blend",
    "of": [ATTENTION, {"name": "prompt_relevance", "temperature": 0.05}],
    "how": "product",
    "scale": "mean",
}

_RECIPE = Recipe(
    "scope_text",
    {**SCOPE_PLUS, "saliency": BOTH, "coverage": {"name": "facility_location", "weights": BOTH}},
    "coverage of what CLS attends to and the question names, by tokens alike in their keys",
    paper="this project, Search",
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
