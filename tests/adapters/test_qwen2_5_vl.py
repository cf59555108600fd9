"""Qwen2.5-VL only: attention in windows, and tokens in their order inside the tower."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from adapters.guests import keeping
from adapters.qwen import MIXED, prompts, shared
from scope_adapters.towers.packed import PackedCapture, probe_packed, resolve_packed


def tower() -> PackedCapture:
    model = shared("qwen2_5_vl")
    return resolve_packed(model, "model.visual", full="fullatt_block_indexes")


@pytest.mark.parametrize("layer", [-2, -4, 1, 3])
def test_received_attention_within_windows_is_refused(layer: int) -> None:
    used = keeping(4, saliency={"name": "received_attention", "layer": layer})
    with pytest.raises(scope.SignalError) as caught:
        used.attach(shared("qwen2_5_vl"))
    message = str(caught.value)
    for part in (
        f"vision.received_attention[{layer}]",
        "stays within windows",
        "vision.received_attention[-3]",
        "[-1]",
    ):
        assert part in message
    assert "would work: received_attention with layer: -1, " in message


@pytest.mark.parametrize("layer", [-1, -3, 2, 4])
def test_layers_that_see_whole_images_are_offered(layer: int) -> None:
    model, given = shared("qwen2_5_vl"), prompts(*MIXED)
    with keeping(4, saliency={"name": "received_attention", "layer": layer}).attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    assert pruning.receipt.signals == (f"vision.received_attention[{layer}]",)


def test_windows_of_these_images_do_reorder_tokens() -> None:
    """Or the other tests would not see that the order is put right."""
    model, given = shared("qwen2_5_vl"), prompts(*MIXED)
    with probe_packed(tower(), frozenset(), dtype=None) as capture, torch.no_grad():
        model.model.visual(given.pixels, grid_thw=given.grids)
    first = 0
    for count in given.tokens[:2]:
        assert capture.order[first : first + count].tolist() != list(range(first, first + count))
        first += count


def test_an_order_that_nobody_told_is_not_guessed() -> None:
    with probe_packed(tower(), frozenset({"vision.hidden[-1]"}), dtype=None) as capture:
        capture.seen[("hidden", 3)] = torch.zeros(8, 32)
    with pytest.raises(scope.AttachError, match=rf"without calling its {tower().reorder}\(\)"):
        capture.hidden(-1, [2])
    with pytest.raises(scope.AttachError, match=r"layer 1 did not pass through its qkv"):
        capture.received(2, [2])
