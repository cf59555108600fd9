"""EADP represents the parts of the image that the question is about: facility location weighted by relevance.

Use it where the question is known when the image is pruned. Tokens of relevant regions get close representatives, and
the rest of the image is still covered, by fewer tokens.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about

FORMULA = """\
pick = argmax of sum over i of w_i * max(0, S_ij - c_i)
S = (1 + cosine) / 2; c_i: coverage of token i so far; w: smoothed relevance to the question"""

RELEVANCE = {
    "name": "blend",
    "of": [
        {"name": "text_relevance", "sign": "negative", "chunks": "mean"},
        {"name": "word_relevance", "sign": "negative", "share": 0.5, "sharpness": 100.0, "temperature": 0.01},
    ],
    "weights": [0.5, 0.5],
    "how": "sum",
}

WEIGHTS = {"name": "scaled", "of": RELEVANCE, "scale": "min_max", "offset": 1e-6}

EADP = {
    "saliency": "uniform",
    "similarity": {"name": "without_negatives", "of": "cosine", "how": "shift"},
    "coverage": {
        "name": "facility_location",
        "weights": {"name": "smoothed", "of": WEIGHTS, "reach": 1, "sigma": 1.0},
    },
    "combiner": "coverage_only",
    "optimizer": "greedy",
    "budget": PER_IMAGE,
    "at": "projected",
}

RECIPES = (
    Recipe(
        "eadp",
        EADP,
        "coverage of the image in which tokens count by their smoothed relevance to the question",
        paper="EADP, ECCV 2026, arXiv 2607.02484",
        about=about(__doc__),
        formula=FORMULA,
    ),
)
