"""AgilePruner keeps salient tokens, and asks more difference of each further one, most of all in complex images.

Use it for images of very different kinds: plain ones are pruned nearly by attention alone, complex ones by diversity.
Known from its project page; the average effective rank and the largest threshold are not published, so set yours.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about, without_cls

FORMULA = """\
in order of a_j: keep j if 1 - S_jk > t_j for all kept k
t_j rises with the order of j and with the image's effective rank
a: attention from CLS; S: cosine"""

PAPER = "AgilePruner, ICLR 2026, arXiv 2603.01236"

AVERAGE_RANK = 100.0
"""Stands in for the average effective rank over a set of images, which is not published."""

AGILEPRUNER: dict[str, Any] = {
    "selector": {
        "name": "suppress",
        "saliency": {"name": "cls_attention", "layer": -2, "heads": "mean"},
        "similarity": "cosine",
        "threshold": 0.01,
        "measure": "distance",
        "times": "order",
        "statistic": {"name": "effective_rank", "over": AVERAGE_RANK},
        "limit": 0.5,
    },
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "vision",
}

_RECIPE = Recipe(
    "agilepruner",
    AGILEPRUNER,
    "tokens by CLS attention; each suppresses those nearer than a distance that rises with order and effective rank",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (_RECIPE, without_cls(_RECIPE))
