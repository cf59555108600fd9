"""FastVID cuts a video into scenes; each keeps salient tokens of every frame, and anchors that stand for the rest.

Use it where merged tokens are welcome: two fifths of the budget are anchors in dense places of every fourth frame,
which take in all tokens of their scene. `fastvid@no_cls` is for towers without a CLS token.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k, without_cls

FORMULA = """\
scenes: cut where cos(mean of frame f, of frame f + 1) < 0.9, at least 8
3/5 of a scene's share: in each frame the tokens with the highest a_j
2/5: in every 4th frame, from the last, the highest exp(-mean |x_i - x_j|^2 / D over 4) * distance to a denser one
anchor row = w x + (1 - w) mean of the scene's tokens nearest to it; w = max(0.6, 1 / (n + 1))
a: attention from CLS; x: projected tokens"""

PAPER = "FastVID, NeurIPS 2025, arXiv 2503.11187"

_EQUALLY: dict[str, Any] = {"name": "quota", "partition": "frame", "saliency": "uniform", "of_piece": "sum"}
_SALIENT = {**_EQUALLY, "selector": top_k({"name": "cls_attention", "layer": -2, "heads": "mean"})}
_ANCHORS = {
    "name": "frame_sample",
    "every": 4,
    "start": "last",
    "selector": {**_EQUALLY, "selector": {"name": "density_peaks", "neighbours": 4}},
}
_SEGMENT = {"name": "segment", "threshold": 0.9, "least": 8}

FASTVID: dict[str, Any] = {
    "selector": {
        **_EQUALLY,
        "partition": _SEGMENT,
        "selector": {"name": "chain", "stages": [_SALIENT, _ANCHORS], "shares": [3, 2]},
    },
    "merger": {"name": "anchor_mean", "partition": _SEGMENT, "share": 0.6, "stage": 1},
    "budget": {"name": "ratio", "keep_ratio": 0.1, "per": "video"},
    "partition": "video",
    "at": "projected",
}

_RECIPE = Recipe(
    "fastvid",
    FASTVID,
    "salient tokens of every frame, and anchors that take in the rest of their scene",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
    code="https://github.com/LunarShen/FastVID",
    differences="scope_plugins.recipes:differences/fastvid.md",
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
