"""Methods that merge tokens from frame to frame, on models with videos: what the language model gets are their rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import anyres, qwen
from adapters.clips import clips
from scope_adapters.compat.transformers import language_model

RECIPES = ("flashvid@no_cls", "holitom@no_cls", "prunevid", "framefusion")


def rows_for_language_model(model: Any, inputs: Mapping[str, Any]) -> Tensor:
    """(L, D) embeddings of the only prompt, as the language model gets them."""
    seen: list[Tensor] = []
    handle = language_model(model).register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        with torch.no_grad():
            model(**inputs)
    finally:
        handle.remove()
    return seen[0][0]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["llava_onevision", "qwen2_5_vl"])
def test_rows_are_those_of_the_method(name: str, recipe: str) -> None:
    if name == "llava_onevision":
        model, frames = anyres.onevision_model(), (9, 2, 2)
        given: Any = clips(model, [3, "video", 4], frames=9)
    else:
        model, frames, given = qwen.shared(name), (9, 2, 3), qwen.prompts([3, (9, 4, 6), 4])
    inputs, count = given.inputs, frames[0] * frames[1] * frames[2]
    first = given.ids[0].tolist().index(model.config.video_token_id)
    whole = rows_for_language_model(model, inputs)
    kept = int(0.4 * count)
    spec: dict[str, Any] = {"recipe": recipe, "budget": {"name": "tokens", "keep": kept, "per": "video"}}
    with scope.Pruner(spec).attach(model) as pruning:
        pruned = rows_for_language_model(model, inputs)
    selection = pruning.receipt.selection
    assert pruning.receipt.images[0].kept == kept == count - (len(whole) - len(pruned))
    tokens = whole[first : first + count][None]
    torch.testing.assert_close(pruned[first : first + kept], selection.merge(tokens)[0], atol=1e-5, rtol=1e-5)
    assert selection.tokens.frame[0].tolist() == [f for f in range(frames[0]) for _ in range(count // frames[0])]
    read = {name: selection.tokens.signal(name) for name in pruning.receipt.signals}
    alone = scope.select(tokens, spec=spec, grid=frames, signals=read)
    assert alone.kept.tolist() == selection.kept.tolist()
