"""GlobalCom2 lets the overview of an image say how much each of its tiles is worth, and what in each tile matters.

Use it on models that read an overview and tiles, such as LLaVA-NeXT, for large images of which a few places matter; on
images of one tile it keeps the tokens of highest attention.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, without_cls

FORMULA = """\
tile t keeps tokens in proportion to its size times 1 + softmax(S / 0.1)_t - 1/T; the overview to its size
S_t  = share of the overview's attention on the area of tile t of T
s_j  = a_j / |a| in the tile + g_j / |g| in the tile; of the overview: a_j
a: attention from CLS; g: that of the overview, interpolated to the tile"""

PAPER = "GlobalCom2, AAAI 2026, arXiv 2501.05179"

ATTENTION = {"name": "cls_attention", "layer": -1, "heads": "mean"}


def _in_tile(of: dict[str, Any]) -> dict[str, Any]:
    return {"name": "scaled", "of": of, "scale": "length", "over": "tile"}


GLOBALCOM2: dict[str, Any] = {
    "selector": {
        "name": "frame_quota",
        "partition": "tile",
        "saliency": {
            "name": "blend",
            "of": [_in_tile(ATTENTION), _in_tile({"name": "overview_attention", "of": ATTENTION})],
        },
        "of_frame": {"name": "overview_share", "of": ATTENTION},
        "of_piece": "sum",
        "curve": "linear",
        "least": 0,
    },
    "budget": {"name": "ratio", "keep_ratio": 0.25, "per": "image"},
    "at": "vision",
}

_RECIPE = Recipe(
    "globalcom2",
    GLOBALCOM2,
    "more tokens of the tiles that the overview attends to; in each, by its own attention and the overview's",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
    code="https://github.com/xuyang-liu16/GlobalCom2",
    differences="scope_plugins.recipes:differences/globalcom2.md",
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
