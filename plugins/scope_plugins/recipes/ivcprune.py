"""IVC-Prune keeps the tokens whose content is like the question's, and those whose positions mark places.

Use it inside the language model for questions about where things are: a few tokens stay for their positions alone, by
which the model tells places, and all keep their original ones.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
20% of all tokens: the largest mean_i A_ij over the question's tokens and the seeds i
5% each: the largest mean_c cos(p_j f_c), and the largest mean_c sin(p_j f_c), of the tokens left
A_ij: softmax over the prompt of v_i . v_j / sqrt(d), mean over heads; seeds: the 1% most like the question
v: values of layer 15; p: position; f: frequencies of the rotary embedding"""

PAPER = "IVC-Prune, ICLR 2026, arXiv 2602.03060"

_BY_PLACE = [top_k({"name": "rotary_axis", "axis": axis, "layer": 15}) for axis in ("cosine", "sine")]

IVCPRUNE: dict[str, Any] = {
    "selector": {
        "name": "chain",
        "stages": [top_k({"name": "value_relevance", "layer": 15, "seeds": 0.01}), *_BY_PLACE],
        "shares": [4, 1, 1],
    },
    "budget": {"name": "ratio", "keep_ratio": 0.3},
    "positions": "original",
    "at": "decoder[16]",
}

RECIPES = (
    Recipe(
        "ivcprune",
        IVCPRUNE,
        "tokens whose values are like the question's, and those whose positions mark places",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/FireRedTeam/IVC-Prune",
        differences="scope_plugins.recipes:differences/ivcprune.md",
    ),
)
