"""SparseVLM: the question's words rate, and the best of what goes comes back as clusters."""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe

PAPER = "SparseVLM, ICML 2025, arXiv 2410.04417"
LAYERS = (2, 6, 15)


def stage(layer: int) -> dict[str, Any]:
    """What a stage behind ``layer`` names: it reads that layer, and prunes what the next one is given."""
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
"""The release's counts for 576 tokens (300, 200, 110; 303, 110, 36; 66, 30, 17) with the clusters it adds to them."""

RECIPES = (
    Recipe("sparsevlm", SPARSEVLM, "the tokens that the words closest to the image attend to", paper=PAPER),
    Recipe(
        "sparsevlm@official",
        {**SPARSEVLM, "budget": {"name": "lookup", "keep": 192, "rows": TABLE}, "dtype": "as_is"},
        "SparseVLM as released (v1): counts from its tables, for images of 576 tokens, in the model's dtype",
        paper=PAPER,
    ),
)
