"""PruneSID divides the tokens into themes and keeps, of each, the salient ones without near copies.

Use it where attention would spend the budget on one theme: every principal component of the image keeps a token, and
those with more different tokens keep more. `prunesid_dynamic` keeps fewer tokens of redundant images.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, about, without_cls

FORMULA = """\
component of token j: that of its largest |loading|
in each, in order of a_j: keep j if S_jk < (K / 32) * mean S for all kept k
a: attention from CLS; S: cosine; components share K by their survivors"""

PAPER = "PruneSID, ICLR 2026, arXiv 2603.09480"

_SUPPRESS: dict[str, Any] = {
    "name": "suppress",
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
    "similarity": "cosine",
    "threshold": 0.03125,  # K / 32 of the mean similarity
    "times": "count",
    "statistic": {"name": "mean_similarity", "similarity": "cosine"},
    "partition": {"name": "principal", "share": 0.25},
    "cap": 5,
}

PRUNESID: dict[str, Any] = {"selector": _SUPPRESS, "partition": "tile", "budget": PER_IMAGE, "at": "vision"}

# in proportion to 1 - mean similarity: all of the budget at 0, half of it at 0.5
_DYNAMIC: dict[str, Any] = {
    "name": "measured",
    "statistic": {"name": "mean_similarity", "similarity": "cosine"},
    "keep": 64,
    "centre": 0.5,
    "width": -1.0,
}

_RECIPE = Recipe(
    "prunesid",
    PRUNESID,
    "principal components share the budget; in each, tokens by CLS attention that suppress those like them",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
)
_DYNAMICAL = Recipe(
    "prunesid_dynamic",
    {**PRUNESID, "budget": _DYNAMIC},
    "PruneSID with fewer tokens for images whose tokens are alike",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "prunesid@official",
        {
            **PRUNESID,
            "selector": {
                **_SUPPRESS,
                "partition": {"name": "principal", "share": 0.25, "plus": 1},
                "rounding": "cumulative",
                "plus": 1,
            },
            "merger": {"name": "keep_cls", "layer": -2, "merger": "none"},
            "budget": PER_TILE,
            "order": "picks",
        },
        "PruneSID as released: CLS is a row, shares rounded as running sums, rows in the order of components",
        paper=PAPER,
    ),
    _DYNAMICAL,
    without_cls(_DYNAMICAL),
)
