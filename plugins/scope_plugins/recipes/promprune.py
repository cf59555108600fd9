"""PromPrune gives more of the budget to salient tokens where a few things stand out, and to diverse ones elsewhere.

Use it for mixed images, some with one subject and some full of detail: the share follows from the spectral entropy of
each image. The count is fixed, so it can be served.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, about, top_k, without_cls

FORMULA = """\
H: entropy of the spectrum of centred cosines
share of the largest a_j: a sigmoid that falls with H; the rest: greedy on the determinant of cosines
a: attention from CLS"""

PAPER = "PromPrune, arXiv 2603.14892"


def _diverse(coverage: str) -> dict[str, Any]:
    return {
        "name": "composite",
        "saliency": "uniform",
        "similarity": "cosine",
        "coverage": coverage,
        "combiner": "coverage_only",
        "optimizer": "greedy",
    }


PROMPRUNE: dict[str, Any] = {
    "selector": {
        "name": "chain",
        "stages": [
            {
                "name": "portion",
                "of": top_k({"name": "cls_attention", "layer": -2, "heads": "mean"}),
                "budget": {
                    "name": "measured",
                    "statistic": "spectral_entropy",
                    "curve": "logistic",
                    "centre": 0.42,
                    "width": -0.02,
                    "least": 0,
                },
            },
            {"name": "portion", "of": _diverse("max_min"), "most": 1},
            _diverse("log_det"),
        ],
        "shares": [1, 0, 0],  # each step gets what those before leave
        "conditioned": [[], [0], [1]],
    },
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "projected",
}

_RECIPE = Recipe(
    "promprune",
    PROMPRUNE,
    "a share by CLS attention that falls with the image's spectral entropy; the rest by a determinant",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "promprune@official",
        {**PROMPRUNE, "budget": PER_TILE},
        "PromPrune as released: one budget for each tile",
        paper=PAPER,
    ),
)
