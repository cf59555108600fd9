"""The recipes of SparseVLM."""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe

PAPER = "SparseVLM, ICML 2025, arXiv 2410.04417"
ABOUT = (
    "SparseVLM rewards the visual tokens that the words closest to the image attend to, at three layers of the "
    "language model, and merges the best of the rest into clusters. Use it to prune by the question without losing "
    "the dropped tokens altogether."
)
FORMULA = """\
raters = words whose mean similarity to the visual tokens is above the average
keep   = after layers 2, 6 and 15, the tokens with the highest a_j,
         and the means of clusters of the best of the rest
a: attention from the raters in that layer, mean over heads"""
CODE = "https://github.com/Gumpest/SparseVLMs"
LAYERS = (2, 6, 15)


def stage(layer: int) -> dict[str, Any]:
    """The parts of a stage that reads ``layer`` and prunes the input of the next layer."""
    saliency = {"name": "rater_attention", "layer": layer, "heads": "mean"}
    return {
        "saliency": saliency,
        "merger": {"name": "density_clusters", "saliency": saliency, "share": 0.3, "per_cluster": 10},
        "at": f"decoder[{layer + 1}]",
    }


SPARSEVLM = {
    **stage(LAYERS[0]),
    "coverage": "modular",
    "combiner": "saliency_only",
    "optimizer": "top_k",
    "budget": {"name": "average", "keep": 192, "layers": 32},
    "positions": "compact",
    "then": [stage(layer) for layer in LAYERS[1:]],
}

TABLE = [[192, 309, 204, 113], [128, 312, 117, 39], [64, 82, 32, 18]]
"""The release's counts for 576 tokens (300, 200, 110; 303, 110, 36; 66, 30, 17), plus the clusters it adds."""

RECIPES = (
    Recipe(
        "sparsevlm",
        SPARSEVLM,
        "the tokens that the words closest to the image attend to",
        paper=PAPER,
        about=ABOUT,
        formula=FORMULA,
        code=CODE,
        differences="scope_plugins.recipes:differences/sparsevlm.md",
    ),
    Recipe(
        "sparsevlm@official",
        {**SPARSEVLM, "budget": {"name": "lookup", "keep": 192, "rows": TABLE}, "dtype": "as_is"},
        "SparseVLM as released (v1): counts from its table, for images of 576 tokens, in the model's dtype",
        paper=PAPER,
    ),
)
