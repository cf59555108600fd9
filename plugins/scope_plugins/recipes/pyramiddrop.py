"""The recipes of PyramidDrop."""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe

PAPER = "PyramidDrop, CVPR 2025, arXiv 2410.17247"
ABOUT = (
    "PyramidDrop rewards the attention of the prompt's last token, and drops half of the remaining visual tokens at "
    "each of three layers of the language model. Use it where early layers should see the whole image and later ones "
    "need only the tokens that matter."
)
FORMULA = """\
keep = at layers 8, 16 and 24, the half of the remaining tokens with the highest a_j
a: attention in that layer from the prompt's last token, mean over heads"""
CODE = "https://github.com/Cooperx521/PyramidDrop"
LAYERS = (8, 16, 24)


def saliency(layer: int) -> dict[str, Any]:
    """Attention from the last token of the instruction, in the layer after the stage."""
    return {"name": "prompt_attention", "layer": layer, "queries": "last", "heads": "mean"}


PYRAMIDDROP = {
    "saliency": saliency(LAYERS[0]),
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": {"name": "average", "decay": 0.5, "layers": 32},
    "positions": "compact",
    "at": f"decoder[{LAYERS[0]}]",
    "then": [{"at": f"decoder[{layer}]", "saliency": saliency(layer)} for layer in LAYERS[1:]],
}

RECIPES = (
    Recipe(
        "pyramiddrop",
        PYRAMIDDROP,
        "half of the remaining tokens dropped at each of three layers",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/pyramiddrop.md",
    ),
    Recipe(
        "pyramiddrop@official",
        {
            **PYRAMIDDROP,
            "budget": {"name": "staged", "ratios": [0.5, 0.25, 0.125], "rounding": "floor"},
            "dtype": "as_is",
        },
        "PyramidDrop as released: shares of the whole image, rounded down, in the model's dtype",
        paper=PAPER,
    ),
)
