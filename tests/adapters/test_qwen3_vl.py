"""Qwen3-VL only: features of earlier layers that the language model adds to its hidden states (DeepStack)."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from adapters.guests import keeping
from adapters.installed import deepstack_of
from adapters.qwen import MIXED, prompts, qwen3_vl, shared

pytestmark = qwen3_vl
KEEP = [5, 3, 2]


def pruner() -> Any:
    return keeping(KEEP, saliency="received_attention")


def test_deepstack_features_go_with_their_tokens() -> None:
    model, given = shared("qwen3_vl"), prompts(*MIXED)
    calls: list[dict[str, Any]] = []
    inner = model.model.language_model
    with pruner().attach(model) as pruning, torch.no_grad():
        hook = inner.register_forward_pre_hook(lambda _, __, kwargs: calls.append(kwargs), with_kwargs=True)
        model(**given.inputs)
        hook.remove()
    with torch.no_grad():
        full = [layer.split(given.tokens) for layer in deepstack_of(model, given.pixels, given.grids)]
    assert len(full) == len(calls[0]["deepstack_visual_embeds"]) == 2
    selection = pruning.receipt.selection
    for layer, got in zip(full, calls[0]["deepstack_visual_embeds"], strict=True):
        kept = [image[selection.kept[number, : KEEP[number]]] for number, image in enumerate(layer)]
        assert torch.equal(got, torch.cat(kept))


def test_they_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them the outputs are others, so the comparison with the masked full prompt covers them."""
    model, given = shared("qwen3_vl"), prompts(*MIXED)
    with pruner().attach(model), torch.no_grad():
        wanted = model(**given.inputs).logits
        with monkeypatch.context() as patch:
            patch.setattr(model.model.language_model, "_deepstack_process", lambda states, *_: states)
            without = model(**given.inputs).logits
    moved = (wanted - without).abs().amax((1, 2))
    assert (moved[[0, 2]] > 0.1).all()
    assert moved[1] == 0
