"""HoliTom keeps what stands still once for each run of frames, and of the rest what is salient in its frame.

Use it for videos with long still parts: the runs that save most are found for the whole video at once. `holitom@no_cls`
is for towers without a CLS token. This is the part of the method before the language model.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k, without_cls

FORMULA = """\
runs of frames: those that maximise the sum of (frames - 1) * (places that stand still in all of them)
still: cos(token, that at its place in the frame before) >= 0.8; one token for the run, the mean t of its frames
runs, and the still and other tokens of each, share K by the tokens that are left
of still ones: the highest exp(-mean |t_i - t_j|^2 / D over 7) * distance to a denser one
row = 0.6 t + 0.4 mean of the still tokens nearest to it
of others: in each frame, those with the highest a_j
a: attention from CLS; projected tokens"""

PAPER = "HoliTom, NeurIPS 2025, arXiv 2505.21334"

_EQUALLY: dict[str, Any] = {"name": "quota", "partition": "frame", "saliency": "uniform", "of_piece": "sum"}
_STILL: dict[str, Any] = {"link": "cell", "threshold": 0.8, "span": "all"}

HOLITOM: dict[str, Any] = {
    "selector": {
        "name": "quota",
        "partition": {"name": "still_segments", "threshold": 0.8},
        "saliency": {"name": "tree_share", **_STILL},
        "of_piece": "sum",
        "selector": {
            "name": "trees",
            **_STILL,
            "selector": {**_EQUALLY, "selector": top_k({"name": "cls_attention", "layer": -2, "heads": "mean"})},
            "of_merged": {
                "name": "density_peaks",
                "neighbours": 7,
                "at_most_kept": True,
                "merge": True,
                "share": 0.6,
            },
        },
    },
    "merger": {"name": "average", "similarity": "cosine"},
    "budget": {"name": "ratio", "keep_ratio": 0.15, "per": "video"},
    "partition": "video",
    "at": "projected",
}

_RECIPE = Recipe(
    "holitom",
    HOLITOM,
    "what stands still kept once for each run of frames, and salient tokens of the rest",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
    code="https://github.com/cokeshao/HoliTom",
    differences="scope_plugins.recipes:differences/holitom.md",
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
