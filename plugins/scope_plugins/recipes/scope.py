"""The recipes of SCOPE, and of its saliency and its coverage alone."""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import FLOORED, without_cls

PAPER = "SCOPE, NeurIPS 2025, arXiv 2510.24214"
BUDGET = {"name": "tokens", "keep": 64, "per": "image"}

SCOPE: dict[str, Any] = {
    "saliency": {"name": "cls_attention", "layer": -2, "heads": "sum"},
    "similarity": "cosine",
    "coverage": "facility_location",
    "combiner": {"name": "product", "alpha": 1.0},
    "optimizer": "greedy",
    "budget": BUDGET,
    "at": "vision",
}

VIDEO = {"name": "ratio", "keep_ratio": 0.25, "per": "video"}


def _pieces(partition: str) -> dict[str, Any]:
    """SCOPE inside pieces of a video, which share its budget by their size."""
    parts = {name: SCOPE[name] for name in ("saliency", "similarity", "coverage", "combiner", "optimizer")}
    inside = {"name": "composite", **parts}
    pieces = {"name": "quota", "partition": partition, "saliency": "uniform", "of_piece": "sum", "selector": inside}
    return {"selector": pieces, "at": SCOPE["at"]}


CODE = "https://github.com/kinredon/SCOPE"
COVERAGE = """\
c_i  = max(0, highest S_ik over kept k)
g_j  = sum over all i of max(0, S_ij - c_i)
"""

_TOP_K = Recipe(
    "top_k_attention",
    {**SCOPE, "coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"},
    "the tokens CLS attends to most: SCOPE's saliency without its coverage",
    paper="FasterVLM, arXiv 2412.01818",
    about="It rewards the tokens that the tower's CLS token attends to most, and nothing else, so near copies may all "
    "be kept. Use it to see what SCOPE's saliency does without its coverage.",
    formula="keep = the K tokens with the highest a_j\na: attention from CLS, summed over heads",
    code="https://github.com/Theia-4869/FasterVLM",
    differences="scope_plugins.recipes:differences/top_k_attention.md",
)

RECIPES = (
    Recipe(
        "scope",
        SCOPE,
        "greedy by coverage gain x saliency^alpha",
        paper=PAPER,
        about="SCOPE rewards tokens that are salient and cover what the tokens kept so far do not. Use it by default, "
        "with towers that have a CLS token; `scope@no_cls` is for those without one.",
        formula=f"{COVERAGE}pick = argmax of g_j * a_j^alpha\n"
        "S: cosine of tower features; a: attention from CLS, summed over heads; alpha: 1",
        code=CODE,
        differences="scope_plugins.recipes:differences/scope.md",
    ),
    Recipe(
        "scope@no_cls",
        {**SCOPE, "saliency": {"name": "received_attention", "layer": -2, "heads": "sum"}},
        "SCOPE for towers without a CLS token: attention received from all tokens instead of attention from CLS",
        paper="SCOPE, arXiv 2510.24214; received attention as in HiPrune, arXiv 2508.00553",
    ),
    Recipe(
        "scope@by_tile",
        {**SCOPE, "partition": "tile"},
        "SCOPE in each tile by itself, so that tiles do not compete for the image's budget",
        paper=PAPER,
    ),
    Recipe(
        "scope@video",
        {**SCOPE, "budget": VIDEO, "partition": "video"},
        "SCOPE over all frames of a video together",
        paper=PAPER,
    ),
    Recipe(
        "scope@by_frame",
        {**_pieces("frame"), "budget": VIDEO, "partition": "video"},
        "SCOPE in each frame of a video by itself; frames share the budget equally",
        paper=PAPER,
    ),
    Recipe(
        "scope@by_segment",
        {**_pieces("segment"), "budget": VIDEO, "partition": "video"},
        "SCOPE in each scene of a video by itself; scenes share the budget by their length",
        paper=f"{PAPER}; segments as in FastVID, arXiv 2503.11187",
    ),
    Recipe(
        "scope@official",
        {**SCOPE, "partition": "tile", "budget": FLOORED, "dtype": "as_is"},
        "SCOPE as released: the tower's precision, floor(K / tiles) in each tile by itself",
        paper=PAPER,
    ),
    _TOP_K,
    without_cls(_TOP_K),
    Recipe(
        "coverage_only",
        {**SCOPE, "saliency": "uniform", "combiner": "coverage_only"},
        "SCOPE's coverage without its saliency; within 1 - 1/e of the best coverage",
        paper="SCOPE, arXiv 2510.24214, ablation",
        control=True,
        about="It rewards tokens that represent the whole image: each pick raises most the similarity of all tokens to "
        "their nearest kept one. Use it where every part of the image may matter, or to see what SCOPE's coverage "
        "does without its saliency.",
        formula=f"{COVERAGE}pick = argmax of g_j\nS: cosine of tower features",
        code=CODE,
    ),
)
