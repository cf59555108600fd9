"""AutoPrune drops tokens before every layer of the language model, along a curve that is flatter for harder questions.

Use it where the early layers should see much of the image and the late ones little, at a stated average over layers:
the less text and image say about each other, the steeper the fall. `autoprune@fixed` has one curve for all prompts.
"""

from __future__ import annotations

from typing import Any

from scope_core.parts import Recipe
from scope_plugins.recipes._parts import about, top_k

FORMULA = """\
before layer l = 1 .. 31: the N min(1, c / (1 + exp(k (l - 14.9 - k)))) tokens of largest a_j; k = max(0.4 - 0.2 I, 0)
I: mutual information of the text after the image and its tokens in layer 0, by attention, summed over heads
a: attention in layer l from the text after the image, mean over its tokens and heads
c: the largest factor for which all 32 layers together average K tokens"""

PAPER = "AutoPrune, NeurIPS 2025, arXiv 2509.23931"
LAYERS = 32


def _asked(layer: int) -> dict[str, Any]:
    return top_k({"name": "prompt_attention", "layer": layer, "queries": "text", "heads": "mean"})


AUTOPRUNE: dict[str, Any] = {
    "selector": _asked(1),
    "budget": {"name": "logistic", "keep": 64, "layers": LAYERS, "slope": 0.4, "centre": 15.3},
    "positions": "original",
    "at": "decoder[1]",
    "then": [{"at": f"decoder[{layer}]", "selector": _asked(layer)} for layer in range(2, LAYERS)],
}

RECIPES = (
    Recipe(
        "autoprune",
        {**AUTOPRUNE, "budget": {**AUTOPRUNE["budget"], "statistic": {"name": "text_information", "layer": 0}}},
        "fewer tokens before every layer, along a curve that the prompt flattens, by attention from the question",
        paper=PAPER,
        about=about(__doc__),
        formula=FORMULA,
        code="https://github.com/AutoLab-SAI-SJTU/AutoPrune",
        differences="scope_plugins.recipes:differences/autoprune.md",
    ),
    Recipe(
        "autoprune@fixed",
        AUTOPRUNE,
        "AutoPrune with its steepest curve for every prompt, so that counts are known beforehand",
        paper=PAPER,
    ),
)
