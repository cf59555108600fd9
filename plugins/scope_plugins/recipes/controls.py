"""Controls for comparisons: they ignore the image, or use half of SCOPE's score (see also `coverage_only`).

A method that is not better than the controls does not select well.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import without_cls

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}

_GRID = {"saliency": "uniform", "combiner": "coverage_only", "optimizer": "grid"}
_PARTS = {"similarity": "cosine", "coverage": "modular", "budget": BUDGET, "at": "vision"}

_SALIENCY = Recipe(
    "saliency_only",
    {
        **_PARTS,
        "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
        "combiner": "saliency_only",
        "optimizer": "top_k",
    },
    "control: SCOPE's saliency without its coverage: plain top-k",
    paper="SCOPE, arXiv 2510.24214, ablation",
    control=True,
)

RECIPES = (
    Recipe(
        "random",
        {**_PARTS, "saliency": {"name": "random", "seed": 0}, "combiner": "saliency_only", "optimizer": "top_k"},
        "control: random tokens, seeded",
        control=True,
    ),
    Recipe(
        "uniform_grid",
        {**_PARTS, **_GRID},
        "control: evenly spaced tokens",
        control=True,
    ),
    Recipe(
        "downsample",
        {**_PARTS, **_GRID, "merger": "pool"},
        "control: the token grid of the image, shrunk by average pooling",
        paper="VTC-Bench, ACL 2026: shrinking the image beats many methods",
        control=True,
    ),
    _SALIENCY,
    without_cls(_SALIENCY),
)
