"""The recipes of ToMe."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE

PAPER = "ToMe, ICLR 2023, arXiv 2210.09461"
ABOUT = (
    "ToMe rewards no token: it merges the most similar pairs, round by round, until K tokens are left, each the "
    "average of all that went into it. Use it where every token should have a part in what is kept; here it is "
    "applied to the tower's output."
)
FORMULA = """\
round = put tokens alternately into two sets; merge the most similar pairs across them
row   = mean of the tokens merged into it
similarity: dot product of keys, mean over heads"""
CODE = "https://github.com/facebookresearch/ToMe"

_SELECTOR = {
    "name": "bipartite",
    "similarity": {"name": "keys_dot", "layer": -2, "heads": "mean"},
    "fold": True,
}

TOME = {
    "selector": _SELECTOR,
    "merger": {"name": "average", "similarity": "cosine"},
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "vision",
}

RECIPES = (
    Recipe(
        "tome",
        TOME,
        "tokens merged into their most similar partner round by round, averaged by size",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/tome.md",
    ),
    Recipe(
        "tome@official",
        {**TOME, "selector": {**_SELECTOR, "after_round": "evens_first"}, "order": "picks", "dtype": "as_is"},
        "ToMe with tokens in the order that the released matching returns, in the tower's precision",
        paper=PAPER,
    ),
)
