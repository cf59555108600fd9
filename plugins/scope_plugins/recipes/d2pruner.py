"""D2Pruner keeps what the question attends to more than the place alone explains, and spreads the rest over the image.

Use it inside the language model where places matter, such as for grounding, with a position prior of your model from
`scope calibrate`; without one, attention counts as it is.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
s_j = a_j / p_j; half of the budget: the tokens with the largest s_j
the other half, of the rest, in order of s_j: keep j, and strike out all i within 2 rows and columns with S_ij > 0.8
a: attention in layer 2 from the prompt's last token, mean over heads; p: its mean over many images at each place
S: cosine of the inputs of layer 3"""

PAPER = "D2Pruner, AAAI 2026, arXiv 2512.19443"

DEBIASED: dict[str, Any] = {
    "name": "debiased",
    "of": {"name": "prompt_attention", "layer": 2, "queries": "last", "heads": "mean"},
    "prior": [[1.0]],  # of a model it is measured by `scope calibrate`
}

D2PRUNER: dict[str, Any] = {
    "selector": {
        "name": "chain",
        "shares": [1, 1],
        "stages": [
            top_k(DEBIASED),
            {"name": "suppress", "saliency": DEBIASED, "similarity": "cosine", "threshold": 0.8, "radius": 2},
        ],
    },
    "budget": {"name": "tokens", "keep": 64, "per": "image"},
    "positions": "original",
    "at": "decoder[3]",
}

RECIPES = (
    Recipe(
        "d2pruner",
        D2PRUNER,
        "attention beyond that of the place; half of the budget for the best, half without close copies",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/EvelynZhang-epiclab/D2Pruner",
        differences="scope_plugins.recipes:differences/d2pruner.md",
    ),
)
