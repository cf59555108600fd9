"""FitPrune drops, before every layer of the language model, as many tokens as layers overlook on a sample of images.

Use it for a model that you can calibrate: a file of `scope calibrate` says how many tokens each layer needs, whatever
the budget; without one, all tokens are dropped before the second layer.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
before layer l = 1 .. 31: the N share_(l-1)(t) tokens with the largest max(c_j / sum c, s_j / sum s) in layer l - 1
share_l(t): measured once: mean share left after each layer up to l drops its least scores, together the share t of all
t: the lowest for which all 32 layers together average K tokens
c: attention from the text after the image; s: from all tokens of the prompt; the largest of heads, mean over tokens"""

PAPER = "FitPrune, AAAI 2025, arXiv 2409.10197"
LAYERS = 32


def _seen(layer: int) -> dict[str, Any]:
    of = [{"name": "prompt_attention", "layer": layer, "queries": whose, "heads": "max"} for whose in ("text", "all")]
    return {"name": "blend", "of": of, "how": "max", "scale": "sum"}


FITPRUNE: dict[str, Any] = {
    "selector": top_k(_seen(0)),
    "budget": {"name": "fitted", "keep": 230, "layers": LAYERS},
    "positions": "original",
    "at": "decoder[1]",
    "then": [{"at": f"decoder[{layer}]", "selector": top_k(_seen(layer - 1))} for layer in range(2, LAYERS)],
}

RECIPES = (
    Recipe(
        "fitprune",
        FITPRUNE,
        "fewer tokens before every layer, as many as each was found to need, by attention from text and prompt",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/ywh187/FitPrune",
        differences="scope_plugins.recipes:differences/fitprune.md",
    ),
)
