"""Built-in recipes: published methods and controls, each a few named parts."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Recipe, hookimpl

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}

SCOPE = {
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
    "similarity": "cosine",
    "coverage": "facility_location",
    "combiner": {"name": "product", "alpha": 1.0},
    "optimizer": "greedy",
    "budget": BUDGET,
    "at": "vision",
}


@hookimpl
def scope_recipes() -> Iterable[Recipe]:
    """SCOPE, its two halves, DivPrune, and the controls."""
    yield Recipe(
        "scope", SCOPE, "greedy by coverage gain x saliency^alpha", paper="SCOPE, NeurIPS 2025, arXiv 2510.24214"
    )
    yield Recipe(
        "scope@no_cls",
        {**SCOPE, "saliency": {"name": "received_attention", "layer": -2, "heads": "sum"}},
        "SCOPE for towers without a CLS token: attention received from all tokens instead of attention from CLS",
        paper="SCOPE, arXiv 2510.24214; received attention as in HiPrune, arXiv 2508.00553",
    )
    yield Recipe(
        "top_k_attention",
        {
            "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
            "similarity": "cosine",
            "coverage": "modular",
            "combiner": "saliency_only",
            "optimizer": "top_k",
            "budget": BUDGET,
            "at": "vision",
        },
        "the tokens CLS attends to most: SCOPE's saliency without its coverage",
        paper="FasterVLM, arXiv 2412.01818",
    )
    yield Recipe(
        "coverage_only",
        {
            "saliency": "uniform",
            "similarity": "cosine",
            "coverage": "facility_location",
            "combiner": "coverage_only",
            "optimizer": "greedy",
            "budget": BUDGET,
            "at": "vision",
        },
        "SCOPE's coverage without its saliency; within 1 - 1/e of the best coverage",
        paper="SCOPE, arXiv 2510.24214, ablation",
    )
    yield Recipe(
        "divprune",
        {
            "saliency": "uniform",
            "similarity": "cosine",
            "coverage": "max_min",
            "combiner": "coverage_only",
            "optimizer": "greedy",
            "budget": BUDGET,
            "at": "projected",
        },
        "the tokens farthest apart, on projected features",
        paper="DivPrune, CVPR 2025, arXiv 2503.02175",
    )
    yield Recipe(
        "random",
        {
            "saliency": {"name": "random", "seed": 0},
            "similarity": "cosine",
            "coverage": "modular",
            "combiner": "saliency_only",
            "optimizer": "top_k",
            "budget": BUDGET,
            "at": "vision",
        },
        "control: random tokens, seeded",
    )
    yield Recipe(
        "uniform_grid",
        {
            "saliency": "uniform",
            "similarity": "cosine",
            "coverage": "modular",
            "combiner": "coverage_only",
            "optimizer": "grid",
            "budget": BUDGET,
            "at": "vision",
        },
        "control: evenly spaced tokens",
    )
