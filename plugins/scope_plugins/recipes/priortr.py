"""PriorTR keeps the tokens that this question looks at more than any text after the image would.

Use it inside the language model for questions about one place: what attention favours anyway is divided out.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
keep the largest p_j * log(p_j / q_j)
p: attention from the last token of the prompt; q: from the first token after the image"""

PAPER = "PriorTR, ECCV 2026"

PRIORTR: dict[str, Any] = {
    "selector": top_k({"name": "information_gain", "layer": 2, "queries": "question", "heads": "mean"}),
    "budget": {"name": "tokens", "keep": 192},
    "positions": "original",
    "at": "decoder[3]",
}

RECIPES = (
    Recipe(
        "priortr",
        PRIORTR,
        "attention from the question against that from the first token after the image",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
    ),
)
