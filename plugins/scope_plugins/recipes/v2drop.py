"""V2Drop drops, at three layers of the language model, the tokens that the layer before has changed least.

Use it with any attention kernel and any question: it reads no attention, and what still changes is kept.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
keep the largest ||h_j^(l) - h_j^(l-1)||, at each of three layers
h^(l): input of decoder layer l"""

PAPER = "V2Drop, CVPR 2026, arXiv 2509.01552"


def _changed(layer: int) -> dict[str, Any]:
    return top_k({"name": "hidden_change", "layer": layer})


V2DROP: dict[str, Any] = {
    "selector": _changed(3),
    "budget": {"name": "ratio", "keep_ratio": 0.5},
    "positions": "original",
    "at": "decoder[3]",
    "then": [
        {"at": "decoder[17]", "selector": _changed(17), "budget": {"name": "ratio", "keep_ratio": 0.5}},
        {"at": "decoder[22]", "selector": _changed(22), "budget": {"name": "tokens", "keep": 1}},
    ],
}

RECIPES = (
    Recipe(
        "v2drop",
        V2DROP,
        "the tokens that change most from layer to layer, at three layers",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
    ),
)
