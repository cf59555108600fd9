"""PruMerge keeps the tokens whose CLS attention stands out, and merges the tokens most like them into each.

Use it where the number of tokens should adapt to the image. PruMerge+ adds evenly spaced tokens.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import STRIDE, top_k, without_cls

PAPER = "PruMerge, ICCV 2025, arXiv 2403.15388"


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
    return {"name": "grid_fill", "saliency": saliency, "density": density}


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
)
_PLUS = Recipe(
    "prumerge_plus",
    _recipe(-2, selector=_CHAIN, budget={"times": 4}),
    "PruMerge with three evenly spaced tokens for each one that stands out",
    paper=PAPER,
)

RECIPES = (
    _PRUMERGE,
    without_cls(_PRUMERGE),
    Recipe(
        "prumerge@official",
        _recipe(-1, exact=True, order="picks", dtype="as_is"),
        "PruMerge as released: attention and keys of the last layer, rows in order of attention, the tower's precision",
        paper=PAPER,
    ),
    _PLUS,
    without_cls(_PLUS),
    Recipe(
        "prumerge_plus@official",
        _recipe(-1, exact=True, selector=_plus(-1, 3), budget={"grid": 3}, order="picks", dtype="as_is"),
        "PruMerge+ as released: the last layer, a grid that may overlap the outliers, rows as picked",
        paper=PAPER,
    ),
)
