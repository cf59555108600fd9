"""AnchorPrune keeps the tokens that the question is about, and salient ones that differ from them and each other.

Use it where an answer needs a few places of the image and their context: the tokens for the question are safe from the
search for diversity, which starts from them. Without a question, use `score` or `scope`.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, PER_TILE, about, without_cls
from scope_plugins.recipes.cdpruner import RELEVANCE

FORMULA = """\
anchors: the largest r_j, until 3 tokens differ from them by more than 0.2
pick = argmax of a_j * min over anchors and picks k of (1 - S_kj)
r: relevance to the text; a: attention from CLS; S: cosine"""

PAPER = "AnchorPrune, ECCV 2026, arXiv 2607.07033"

_EXPANSION: dict[str, Any] = {
    "name": "composite",
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "mean"},
    "similarity": "cosine",
    "coverage": "max_min",
    "combiner": "product",
    "optimizer": "greedy",
}
_ANCHORS: dict[str, Any] = {"name": "anchors", "saliency": RELEVANCE, "similarity": "cosine"}
# at least 5 of 32, 10 of 64 and 20 of 128 tokens, at most half
_CHAIN: dict[str, Any] = {"name": "chain", "shares": [1, 1], "rounding": "floor", "conditioned": True}

ANCHORPRUNE: dict[str, Any] = {
    "selector": {**_CHAIN, "stages": [_ANCHORS, _EXPANSION]},
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "vision",
}

_RECIPE = Recipe(
    "anchorprune",
    ANCHORPRUNE,
    "tokens relevant to the text, as many as belong together; then salient ones far from these and from each other",
    paper=PAPER,
    about=about(__doc__),
    formula=FORMULA,
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "anchorprune@official",
        {
            **ANCHORPRUNE,
            "selector": {
                **_CHAIN,
                "stages": [
                    {**_ANCHORS, "similarity": {"name": "signal_cosine", "of": "clip.embeddings"}},
                    {**_EXPANSION, "similarity": {"name": "without_negatives", "of": "cosine"}},
                ],
            },
            "budget": PER_TILE,
        },
        "AnchorPrune as released: anchors compared in CLIP's space, distances of at most 1, one budget for each tile",
        paper=PAPER,
    ),
)
