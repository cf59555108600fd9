"""CLSE keeps tokens that the question attends to; in its first stage, those whose surroundings change as well.

Use it where the first stage should weigh fine detail as well as attention: text, edges, small things.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
first stage: the largest (change of detail around j) * p_j; later: the largest p_j
p: attention from the last token of the prompt"""

PAPER = "CLSE, ECCV 2026, arXiv 2606.24165"


def _attention(layer: int) -> dict[str, Any]:
    return {"name": "prompt_attention", "layer": layer, "queries": "last", "heads": "mean"}


CLSE: dict[str, Any] = {
    "selector": top_k(
        {"name": "blend", "how": "product", "of": [{"name": "spectral_change", "layer": 1, "before": 0}, _attention(0)]}
    ),
    "budget": {"name": "staged", "keep": [330, 210, 62]},
    "positions": "original",
    "at": "decoder[1]",
    "then": [
        {"at": "decoder[11]", "selector": top_k(_attention(10))},
        {"at": "decoder[21]", "selector": top_k(_attention(20))},
    ],
}

RECIPES = (
    Recipe(
        "clse",
        CLSE,
        "attention times the change of detail in the first layer, then attention, in three stages",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
    ),
)
