"""FlashVID keeps salient tokens of every frame that differ from each other, and merges the rest from frame to frame.

Use it where merged tokens are welcome: a token that moves slowly is one row for all its frames. `flashvid@no_cls` is
for towers without a CLS token; `flashvid@expanded` keeps more before the language model, and prunes again inside it.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k, without_cls

FORMULA = """\
scenes: cut where cos(mean of frame f, of frame f + 1) < 0.9, at least 8
7/10 of a frame's share: pick = argmax of a_j * min over kept k of the frame of (1 - S_kj)
  (its first pick: min over all other tokens of the frame)
of the rest, j is merged into the most similar i of the frame before, if S_ij >= 0.8: trees, t their means
3/10: in each frame the trees with the highest exp(-mean |t_i - t_j|^2 / D over 7) * distance to a denser one
row = mean of the trees nearest to it
S: cosine of projected tokens; a: attention from CLS"""

PAPER = "FlashVID, ICLR 2026"

_EQUALLY: dict[str, Any] = {"name": "quota", "partition": "frame", "saliency": "uniform", "of_piece": "sum"}
_SALIENT: dict[str, Any] = {
    "name": "composite",
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "mean"},
    "similarity": "cosine",
    "coverage": "max_min",
    "combiner": {"name": "product", "alpha": 1.0},
    "optimizer": "greedy",
}
_PEAKS = {"name": "density_peaks", "neighbours": 7, "at_most_kept": True, "merge": True}
_TREES = {
    "name": "trees",
    "link": "nearest",
    "threshold": 0.8,
    "span": "any",
    "selector": {**_EQUALLY, "selector": _PEAKS},
}

FLASHVID: dict[str, Any] = {
    "selector": {
        **_EQUALLY,
        "partition": {"name": "segment", "threshold": 0.9, "least": 8},
        "selector": {"name": "chain", "stages": [{**_EQUALLY, "selector": _SALIENT}, _TREES], "shares": [7, 3]},
    },
    "merger": {"name": "average", "similarity": "cosine"},
    "budget": {"name": "ratio", "keep_ratio": 0.25, "per": "video"},
    "partition": "video",
    "at": "projected",
}

EXPANDED: dict[str, Any] = {
    **FLASHVID,
    "budget": {"name": "ratio", "keep_ratio": 0.3125, "per": "video"},  # 1.25 x 0.25
    "positions": "compact",
    "then": [
        {
            "at": "decoder[20]",
            "selector": top_k({"name": "prompt_attention", "layer": 19, "queries": "last", "heads": "mean"}),
            "merger": "none",
            "partition": "image",
            "budget": {"name": "ratio", "keep_ratio": 0.3},
        }
    ],
}

_RECIPE = Recipe(
    "flashvid",
    FLASHVID,
    "salient tokens of every frame that differ; others merged from frame to frame, and into dense ones",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
    code="https://github.com/Fanziyang-v/FlashVID",
    differences="scope_plugins.recipes:differences/flashvid.md",
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "flashvid@expanded",
        EXPANDED,
        "FlashVID with a quarter more tokens before the language model, of which layer 20 keeps 30%",
        paper=PAPER,
    ),
)
