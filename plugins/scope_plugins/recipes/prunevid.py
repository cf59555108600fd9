"""PruneVid keeps what stands still once for each scene, and merges still and moving tokens into dense ones.

Use it where no attention is at hand and merged tokens are welcome. This is the part of the method before the language
model, written from the paper alone; its second step, by attention of the question inside the model, is not.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about

FORMULA = """\
scenes: runs of frames of one cluster; a quarter as many clusters as frames, by density peaks of their means
still: a place whose tokens have a mean cosine of at least 0.8 over all pairs of frames of its scene; t: their mean
scenes, and the still and moving tokens of each, share K by the tokens that are left; moving ones frame by frame
of each kind: the highest exp(-mean |t_i - t_j|^2 / D over 7) * distance to a denser one
row = mean of the tokens nearest to it"""

PAPER = "PruneVid, ACL 2025, arXiv 2412.16117"

_STILL: dict[str, Any] = {"link": "cell", "threshold": 0.8, "span": "mean"}
_PEAKS: dict[str, Any] = {"name": "density_peaks", "neighbours": 7, "merge": True}

PRUNEVID: dict[str, Any] = {
    "selector": {
        "name": "quota",
        "partition": {"name": "frame_clusters", "share": 0.25, "neighbours": 7},
        "saliency": {"name": "tree_share", **_STILL},
        "of_piece": "sum",
        "selector": {
            "name": "trees",
            **_STILL,
            "selector": {
                "name": "quota",
                "partition": "frame",
                "saliency": "uniform",
                "of_piece": "sum",
                "selector": _PEAKS,
            },
            "of_merged": _PEAKS,
        },
    },
    "merger": {"name": "average", "similarity": "cosine"},
    "budget": {"name": "ratio", "keep_ratio": 0.2, "per": "video"},  # half, of which the model's layer 10 keeps 40%
    "partition": "video",
    "at": "projected",
}

RECIPES = (
    Recipe(
        "prunevid",
        PRUNEVID,
        "what stands still kept once for each scene; still and moving tokens merged into dense ones",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        differences="scope_plugins.recipes:differences/prunevid.md",
    ),
)
