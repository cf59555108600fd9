"""Controls for comparisons: they ignore the image, or use half of SCOPE's score (see also `coverage_only`).

A method that is not better than the controls does not select well.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import without_cls

BUDGET = {"name": "tokens", "keep": 64, "per": "image"}

_GRID = {"saliency": "uniform", "combiner": "coverage_only", "optimizer": "grid"}
_PARTS = {"similarity": "cosine", "coverage": "modular", "budget": BUDGET, "at": "vision"}

_EVENLY = {"name": "composite", **_GRID, "similarity": "cosine", "coverage": "modular"}
_VIDEO = {"budget": {"name": "ratio", "keep_ratio": 0.25, "per": "video"}, "partition": "video", "at": "projected"}

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
    about="It rewards the tokens that the tower's CLS token attends to most: SCOPE's saliency without its coverage, as "
    "in the ablation of its paper. Use it as a control: it has the same parts as `top_k_attention`.",
    formula="keep = the K tokens with the highest a_j\na: attention from CLS, summed over heads",
)

RECIPES = (
    Recipe(
        "random",
        {**_PARTS, "saliency": {"name": "random", "seed": 0}, "combiner": "saliency_only", "optimizer": "top_k"},
        "control: random tokens, seeded",
        control=True,
        about="It rewards nothing: tokens are drawn at random, at the same places in every image for one seed. Use it "
        "as a control: a method that is no better does not select.",
        formula="keep = K tokens drawn without replacement",
    ),
    Recipe(
        "uniform_grid",
        {**_PARTS, **_GRID},
        "control: evenly spaced tokens",
        control=True,
        about="It rewards nothing: tokens are kept at evenly spaced places, whatever the image shows. Use it as a "
        "control for methods that claim to find what matters.",
        formula="keep = the tokens nearest to the middles of K cells that divide the image",
    ),
    Recipe(
        "downsample",
        {**_PARTS, **_GRID, "merger": "pool"},
        "control: the token grid of the image, shrunk by average pooling",
        paper="VTC-Bench, ACL 2026, arXiv 2510.07143: shrinking the image beats many methods",
        control=True,
        about="It rewards nothing: the token grid is shrunk, and every kept row is the mean of a cell. Use it as a "
        "control: shrinking the image beats many methods on common benchmarks.",
        formula="row = mean of the tokens in one of K cells that divide the image",
        code="https://github.com/Chenfei-Liao/VTC-Bench",
        differences="scope_plugins.recipes:differences/downsample.md",
    ),
    Recipe(
        "uniform_frames",
        {**_VIDEO, "selector": {"name": "frame_sample", "selector": _EVENLY}},
        "control: as few evenly spaced frames as can hold the budget",
        control=True,
        about="It rewards nothing: evenly spaced frames of a video are kept, as few as can hold the budget, and the "
        "others are dropped. Use it as a control for methods for videos, and give them the same budget.",
        formula="m = the fewest frames that hold K tokens\n"
        "keep = K evenly spaced tokens of frames floor((2 i + 1) F / 2 m), i < m; F frames",
    ),
    Recipe(
        "nth_frame",
        {**_VIDEO, "selector": {"name": "frame_sample", "every": 4, "selector": _EVENLY}},
        "control: evenly spaced tokens of every fourth frame",
        control=True,
        about="It rewards nothing: evenly spaced tokens of every fourth frame of a video are kept. Use it as a control "
        "that sees fewer frames, each at a lower resolution.",
        formula="keep = K evenly spaced tokens of frames 0, n, 2 n, ...\nn: 4, or less if these hold fewer than K",
    ),
    _SALIENCY,
    without_cls(_SALIENCY),
)
