"""DART keeps a few pivot tokens, and tokens that do not duplicate them, inside the language model.

Use it where attention weights are not available: it compares keys and hidden states only.
"""

from __future__ import annotations

from scope_core.parts import Recipe

PAPER = "DART, EMNLP 2025, arXiv 2502.11494"

PIVOTS = {
    "name": "pivots",
    "saliency": {"name": "key_norm", "of": "decoder.keys[1]", "order": 1, "heads": "concat"},
    "pivots": 4,
    "text_pivots": 4,
    "keys": 1,
    "states": 2,
}

DART = {
    "selector": PIVOTS,
    "budget": {"name": "tokens", "keep": 128},
    "positions": "original",
    "at": "decoder[2]",
}

RECIPES = (
    Recipe("dart", DART, "a few pivots by key norm, and for each the tokens least like it", paper=PAPER),
    Recipe(
        "dart@official",
        {
            **DART,
            "selector": {**PIVOTS, "normed": True, "order": "set", "offset": 35},
            "budget": {"name": "stepped", "keep": 128, "step": 8, "plus": 4},
            "dtype": "as_is",
        },
        "DART as released: compared after the last norm, 4 tokens above the budget, pivots in the order of a set",
        paper=PAPER,
    ),
)
