"""ApET keeps a few tokens spread over the image, and those that cannot be expressed by them; the rest is merged in.

Use it where attention weights are not available, as with FlashAttention: it reads features only, and keeps detail that
a summary of the image lacks.
"""

from __future__ import annotations

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import PER_IMAGE, about, top_k

FORMULA = """\
basis: 10 tokens, each the farthest from those before
keep the basis and the largest ||x_j - (basis combination nearest to x_j)||
row = (kept + sum of its n dropped tokens) / (1 + n)"""

APET = {
    "selector": top_k({"name": "reconstruction_error", "basis": 10, "ridge": 1e-5, "basis_first": True}),
    "merger": {"name": "average", "similarity": "cosine"},
    "partition": "tile",
    "budget": PER_IMAGE,
    "at": "vision",
}

RECIPES = (
    Recipe(
        "apet",
        APET,
        "ten basis tokens and those they express worst, the rest merged into the most similar",
        paper="ApET, CVPR 2026, arXiv 2602.19870; its stage before the language model",
        about=about(__doc__),
        formula=FORMULA,
    ),
)
