"""G-Prune keeps tokens to which most information flows in a graph of similar tokens, foreground and background alike.

Use it without attention or text, where the background matters as much as the objects, as in text-rich images.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about, top_k

FORMULA = """\
W = softmax of S / 0.03 where S > 0.5
b = 5 steps of W from the norms ||x_j||, over the number of neighbours
keep the largest b_j"""

GPRUNE = {
    "selector": top_k(
        {
            "name": "graph_propagation",
            "of": "feature_norm",
            "similarity": "cosine",
            "threshold": 0.5,
            "temperature": 0.03,
            "steps": 5,
        }
    ),
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "projected",
}

RECIPES = (
    Recipe(
        "gprune",
        GPRUNE,
        "the tokens that most information flows to in a graph of similar tokens, in each tile",
        paper="G-Prune, AAAI 2025",
        about=about(__doc__),
        formula=FORMULA,
    ),
)
