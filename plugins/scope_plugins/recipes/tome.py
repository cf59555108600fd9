"""ToMe merges the most similar pairs of tokens round by round, until K tokens are left.

Use it where no token should be lost: every dropped token is averaged into a kept one. Here it is applied to the tower's
output.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE

PAPER = "ToMe, ICLR 2023, arXiv 2210.09461"

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
    ),
    Recipe(
        "tome@official",
        {**TOME, "selector": {**_SELECTOR, "after_round": "evens_first"}, "order": "picks", "dtype": "as_is"},
        "ToMe with tokens in the order that the released matching returns, in the tower's precision",
        paper=PAPER,
    ),
)
