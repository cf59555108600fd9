"""VTW keeps all visual tokens in the first half of the language model, and none behind it.

Use it where answers need little of the image once the text has read it, and any attention kernel must do; nothing is
chosen, so nothing is computed.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import STRIDE, about

FORMULA = """\
keep all tokens in layers 0 to 14, none from layer 15 on"""

PAPER = "VTW, AAAI 2025, arXiv 2405.05803"

VTW: dict[str, Any] = {
    "selector": {**STRIDE, "optimizer": "grid"},  # evenly spaced, if a budget above 0 is given
    "budget": {"name": "tokens", "keep": 0},
    "positions": "original",
    "at": "decoder[15]",
}

RECIPES = (
    Recipe(
        "vtw",
        VTW,
        "all tokens before a layer of the language model, none from it on",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/lzhxmu/VTW",
        differences="scope_plugins.recipes:differences/vtw.md",
    ),
)
