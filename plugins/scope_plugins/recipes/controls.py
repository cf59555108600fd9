"""Controls that every comparison carries: they look at nothing, or at one half of SCOPE (see `coverage_only`)."""

from __future__ import annotations

from scope_core.parts import Recipe

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}

_GRID = {"saliency": "uniform", "combiner": "coverage_only", "optimizer": "grid"}
_PARTS = {"similarity": "cosine", "coverage": "modular", "budget": BUDGET, "at": "vision"}

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
        "control: the image's token grid shrunk by average pooling",
        paper="VTC-Bench, ACL 2026: shrinking the image beats many methods",
        control=True,
    ),
    Recipe(
        "saliency_only",
        {
            **_PARTS,
            "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
            "combiner": "saliency_only",
            "optimizer": "top_k",
        },
        "control: SCOPE's saliency without its coverage, a plain top-k",
        paper="SCOPE, arXiv 2510.24214, ablation",
        control=True,
    ),
)
