"""Qwen2.5-VL only: attention in windows, and tokens in their order inside the tower."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from adapters.guests import keeping
from adapters.qwen import MIXED, prompts, shared, watch
from scope_adapters.towers.packed import PackedCapture, probe_packed, resolve_packed


def tower() -> PackedCapture:
    model = shared("qwen2_5_vl")
    return resolve_packed(model, "model.visual", full="fullatt_block_indexes")


@pytest.mark.parametrize(("layer", "read"), [(-1, 4), (-2, 2), (1, 2), (2, 2), (3, 4), (4, 4)])
def test_received_attention_is_that_of_the_layer_that_corresponds(layer: int, read: int) -> None:
    """Of four layers, the second and the last attend to whole images."""
    model, given = shared("qwen2_5_vl"), prompts(*MIXED)
    used = keeping(4, saliency={"name": "received_attention", "layer": layer})
    with used.attach(model) as pruning, torch.no_grad():
        model(**given.inputs)
    name = f"vision.received_attention[{layer}]"
    assert pruning.receipt.signals == (name,)
    assert pruning.receipt.notes == (f"{name} is that of layer {read} of 4: other layers attend in windows",)
    assert pruning.receipt.notes[0] in str(pruning.receipt)
    seen = watch(model, given)
    for image, count in enumerate(given.tokens):
        got = pruning.receipt.selection.tokens.signals[name][image, :, :count]
        torch.testing.assert_close(got.double(), seen.received[image][read - 1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layer", [-3, 5])
def test_a_layer_that_none_corresponds_to_is_refused(layer: int) -> None:
    used = keeping(4, saliency={"name": "received_attention", "layer": layer})
    with pytest.raises(scope.SignalError, match=r"layers 2, 4 of 4, which see whole images"):
        used.attach(shared("qwen2_5_vl"))


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
    with pytest.raises(scope.AttachError, match=r"layer 1 did not pass through its"):
        capture.received(2, [2])
