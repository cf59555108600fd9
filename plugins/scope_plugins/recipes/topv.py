"""TopV keeps the tokens whose content a layer passes on at low cost, and an even sample of the others.

Use it inside the language model with any attention kernel and any question: it reads hidden states alone, and tokens in
the middle of the image count a little more.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import STRIDE, about, top_k

FORMULA = """\
nine tenths of the budget: the tokens with the least sum_j P_ij C_ij; one tenth: evenly spaced ones of the rest
C_ij = 1 - cos(x_i, y_j) + |p_i - p_j| / d + 2 |p_i - m| / d; x, y: inputs and outputs of layer 1
P = argmin of sum P C + 0.3 sum P log P, with equal sums of all rows and of all columns (Sinkhorn)
p: places; m, d: middle and diagonal of the image"""

PAPER = "TopV, CVPR 2025, arXiv 2503.18278"

TOPV: dict[str, Any] = {
    "selector": {
        "name": "chain",
        "shares": [9, 1],
        "stages": [
            top_k({"name": "transport", "source": "decoder.hidden[1]", "target": "decoder.hidden[2]"}),
            {**STRIDE, "optimizer": "grid"},
        ],
    },
    "budget": {"name": "ratio", "keep_ratio": 0.5},
    "positions": "original",
    "at": "decoder[2]",
}

RECIPES = (
    Recipe(
        "topv",
        TOPV,
        "tokens that a layer passes on at low cost, by optimal transport, and an even sample of the others",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        differences="scope_plugins.recipes:differences/topv.md",
    ),
)
