"""The recipes of DART."""

from __future__ import annotations

from scope_core.parts import Recipe

PAPER = "DART, EMNLP 2025, arXiv 2502.11494"
ABOUT = (
    "DART rewards tokens that do not duplicate a few pivot tokens, inside the language model. Use it where attention "
    "weights are not available: it compares keys and hidden states only."
)
FORMULA = """\
pivots = the 4 image tokens and the 4 text tokens whose keys have the largest 1-norm
keep   = for each pivot p, the tokens with the lowest S_pj, an equal share each
S: cosine of hidden states"""
CODE = "https://github.com/ZichenWen1/DART"

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
    Recipe(
        "dart",
        DART,
        "a few pivots by key norm, and for each the tokens least like it",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/dart.md",
    ),
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
