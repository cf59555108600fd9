"""PACT keeps centres of clusters among the tokens that the image itself asks for, and merges the others into them.

Use it inside the language model with any attention kernel: how many are kept follows from the image, at most 55%, and
no question is needed.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about

FORMULA = """\
listed: the 55% of largest ||h_j|| mean_h softmax_j(q_h . k_hj / sqrt(d)); q_h: mean query of the visual tokens
centres: listed tokens by density sum_i exp(-(d_ij / 2)^2); each takes those within d = 0.21 off the list
a centre becomes the mean of itself and all tokens nearest to it within 1.5 * 0.21
d: 1 - cosine of the keys of layer 4, rotated; in density among listed tokens"""

PAPER = "PACT, CVPR 2025, arXiv 2504.08966"

_KEYS: dict[str, Any] = {"name": "decoder_keys_cosine", "layer": 4}

PACT: dict[str, Any] = {
    "selector": {
        "name": "shortlist",
        "saliency": {"name": "global_query", "layer": 4, "order": 2.0},
        "share": 0.55,
        "of": {
            "name": "suppress",
            "saliency": {"name": "density", "similarity": _KEYS, "width": 2.0},
            "similarity": _KEYS,
            "measure": "distance",
            "threshold": 0.21,
            "then": "stop",
        },
    },
    "merger": {"name": "average", "similarity": _KEYS, "least": 0.685},  # 1 - 1.5 * 0.21
    "budget": {"name": "ratio", "keep_ratio": 0.55},
    "positions": "original",
    "at": "decoder[4]",
}

RECIPES = (
    Recipe(
        "pact",
        PACT,
        "centres of clusters of keys among the tokens that the image asks for, with the others merged into them",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/orailix/PACT",
        differences="scope_plugins.recipes:differences/pact.md",
    ),
)
