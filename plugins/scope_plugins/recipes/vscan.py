"""VScan keeps tokens of every window and salient ones of the whole image; later, those that the question looks at.

Use it where small things all over the image may be asked about: a shallow layer of the tower chooses inside windows, a
deep layer among the rest, and dropped tokens are merged. `vscan@encoder` is its part before the language model.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about, top_k, without_cls

FORMULA = """\
half: the largest a6_j in each window of 6 x 6; half: the largest a_j of the rest
row = (kept + sum of its n dropped tokens) / (1 + n); then a third of the rows by attention from the question
a6, a: attention from CLS in layers 6 and -2"""

PAPER = "VScan, TMLR 2026, arXiv 2505.22654"

_SHALLOW = {"name": "cls_attention", "layer": 6, "heads": "mean"}
_DEEP = {"name": "cls_attention", "layer": -2, "heads": "mean"}
_LOCAL: dict[str, Any] = {
    "name": "quota",
    "partition": {"name": "windows", "rows": 6, "cols": 6},
    "saliency": "uniform",
    "selector": top_k(_SHALLOW),
}

ENCODER: dict[str, Any] = {
    "selector": {"name": "chain", "stages": [_LOCAL, top_k(_DEEP)], "shares": [1, 1], "rounding": "floor"},
    "merger": {"name": "average", "similarity": "cosine"},
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "projected",
}
VSCAN: dict[str, Any] = {
    **ENCODER,
    "budget": {**PER_IMAGE, "keep": 96},
    "positions": "compact",
    "then": [
        {
            "at": "decoder[16]",
            "selector": top_k({"name": "prompt_attention", "layer": 16, "queries": "last", "heads": "mean"}),
            "merger": "none",
            "partition": "image",
            "budget": {"name": "ratio", "keep_ratio": 0.3333},
        }
    ],
}

_RECIPE = Recipe(
    "vscan",
    VSCAN,
    "windows and the whole image by CLS attention, others merged; a third of these by the question at layer 16",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "vscan@encoder",
        ENCODER,
        "half by shallow CLS attention inside windows, half by deep CLS attention; others merged into the nearest",
        paper=PAPER,
    ),
)
