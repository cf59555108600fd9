"""The recipes of PruMerge and PruMerge+."""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import STRIDE, top_k, without_cls

PAPER = "PruMerge, ICCV 2025, arXiv 2403.15388"
CODE = "https://github.com/42Shawn/LLaVA-PruMerge"
DIFFERENCES = "scope_plugins.recipes:differences/prumerge.md"
MERGING = """\
row  = token + sum of a times the 32 tokens nearest to it by keys
last = sum of a times all dropped tokens, a row of its own
a: attention from CLS, one softmax over all heads together"""


def _recipe(layer: int, exact: bool = False, **more: Any) -> dict[str, Any]:
    saliency = {"name": "joint_attention", "layer": layer, **({"exact": True} if exact else {})}
    keys = {"name": "keys_cosine", "layer": layer, "heads": "concat"}
    recipe: dict[str, Any] = {
        "selector": top_k(saliency),
        "merger": {
            "name": "residual",
            "saliency": saliency,
            "merger": {"name": "knn", "similarity": keys, "saliency": saliency, "neighbours": 32},
        },
        "partition": "tile",
        "budget": {"name": "iqr", "saliency": saliency, "plus": 1},
        "at": "vision",
    }
    return {**recipe, **more, "budget": {**recipe["budget"], **more.get("budget", {})}}


def _plus(layer: int, density: int) -> dict[str, Any]:
    saliency = {"name": "joint_attention", "layer": layer, "exact": True}
    return {"name": "grid_fill", "saliency": saliency, "density": density, "floored": True}


_CHAIN = {
    "name": "chain",
    "stages": [top_k({"name": "joint_attention", "layer": -2}), STRIDE],
    "shares": [1.0, 3.0],
}

_PRUMERGE = Recipe(
    "prumerge",
    _recipe(-2),
    "the tokens whose CLS attention stands out, their neighbours by key merged in, and one row for the rest",
    paper=PAPER,
    about="PruMerge rewards tokens whose attention from CLS stands out, and merges the tokens most like them into "
    "each. Use it where the number of tokens should adapt to the image; `prumerge@64` keeps a fixed number.",
    formula=f"keep = tokens with a_j above the third quartile + 1.5 interquartile ranges\n{MERGING}",
    code=CODE,
    differences=DIFFERENCES,
)
_PLUS = Recipe(
    "prumerge_plus",
    _recipe(-2, selector=_CHAIN, budget={"times": 4}),
    "PruMerge with three evenly spaced tokens for each one that stands out",
    paper=PAPER,
    about="PruMerge+ rewards tokens whose attention from CLS stands out, and adds three evenly spaced ones for each, "
    "so that no part of the image is lost. Use it where PruMerge keeps too few tokens for what is asked.",
    formula="keep = the m tokens with a_j above the third quartile + 1.5 interquartile ranges,\n"
    f"       and 3 m evenly spaced ones of the rest\n{MERGING}",
    code=CODE,
    differences=DIFFERENCES,
)

RECIPES = (
    _PRUMERGE,
    without_cls(_PRUMERGE),
    Recipe(
        "prumerge@official",
        _recipe(-1, exact=True, budget={"floored": True}, order="picks", dtype="as_is"),
        "PruMerge as released: attention and keys of the last layer, rows in order of attention, the tower's precision",
        paper=PAPER,
    ),
    _PLUS,
    without_cls(_PLUS),
    Recipe(
        "prumerge_plus@official",
        _recipe(
            -1, exact=True, selector=_plus(-1, 3), budget={"grid": 3, "floored": True}, order="picks", dtype="as_is"
        ),
        "PruMerge+ as released: the last layer, a grid that may overlap the outliers, rows as picked",
        paper=PAPER,
    ),
)
