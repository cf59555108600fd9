"""HAWK keeps the tokens that fit the question in the heads that matter for seeing.

Use it inside the language model with head weights of your model, from `scope calibrate` or from its authors: without
weights all heads count the same. It reads no attention, so any attention kernel will do.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
keep the largest sum_h w_h r_hj / ||r_h||
r_hj: mean over the question's tokens i of q_hi . k_hj / sqrt(d) in layer 0, before the rotary embedding
w_h: weight of head h, measured once for a model"""

PAPER = "HAWK, CVPR 2026, arXiv 2604.07812"

HAWK: dict[str, Any] = {
    "selector": top_k({"name": "head_relevance", "layer": 0}),
    "budget": {"name": "ratio", "keep_ratio": 0.198},
    "positions": "original",
    "at": "decoder[1]",
}

RECIPES = (
    Recipe(
        "hawk",
        HAWK,
        "the tokens that fit the question by queries and keys without positions, with a weight for each head",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/peppery77/HAWK",
        differences="scope_plugins.recipes:differences/hawk.md",
    ),
)
