"""The recipes of HoloV."""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, top_k, without_cls

PAPER = "HoloV, NeurIPS 2025, arXiv 2510.02912"
ABOUT = (
    "HoloV rewards attention from CLS inside each of 16 bands of the image, which share the budget, so that no part "
    "of the image is lost. Use it where attention concentrates on a few places; `holov@no_cls` is for towers without "
    "a CLS token."
)
FORMULA = """\
K_b  = K shared among the bands b in proportion to the attention in them
       (the variance of similarity in the published score cancels)
keep = in each band the K_b tokens with the highest a_j
a: attention from CLS, mean over heads"""
CODE = "https://github.com/obananas/HoloV"

_ATTENTION = {"name": "cls_attention", "layer": -2, "heads": "mean"}

HOLOV = {
    "selector": {
        "name": "quota",
        "partition": {"name": "chunks", "count": 16},
        "saliency": {
            "name": "similarity_variance",
            "similarity": "cosine",
            "base": _ATTENTION,
            "weight": 0.09,
        },
        "sharpness": 1.0,
        "selector": top_k(_ATTENTION),
    },
    "budget": PER_IMAGE,
    "at": "projected",
}

_RECIPE = Recipe(
    "holov",
    HOLOV,
    "16 chunks share the budget by attention and variance of similarity; in each, the tokens CLS attends to most",
    paper=PAPER,
    about=ABOUT,
    formula=FORMULA,
    code=CODE,
    differences="scope_plugins.recipes:differences/holov.md",
)

RECIPES = (
    _RECIPE,
    without_cls(_RECIPE),
    Recipe(
        "holov@official",
        {**HOLOV, "order": "picks", "dtype": "as_is"},
        "HoloV as released: rows chunk by chunk in order of attention, the tower's precision",
        paper=PAPER,
    ),
)
