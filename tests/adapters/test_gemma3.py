"""Gemma 3: patches averaged in the projector, images read in both directions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import scope_core as scope
from adapters.guests import keeping
from adapters.models import PLACEHOLDER
from adapters.tiled import SIDE, prompts, shared
from scope_adapters.adapters.gemma3 import Gemma3, Gemma3Spec


class Base:
    """A pooling of a given kernel where the adapter looks for it."""

    def __init__(self, kernel: int) -> None:
        self.multi_modal_projector = nn.Module()
        self.multi_modal_projector.avg_pool = nn.AvgPool2d(kernel, kernel)


@pytest.mark.parametrize(("side", "kernel"), [(64, 4), (6, 3), (7, 2), (5, 1), (4, 4)])
def test_patches_of_a_token_are_those_that_the_pooling_reads(side: int, kernel: int) -> None:
    """By feeding it one patch at a time; patches that it leaves out belong to no token."""
    patches = Gemma3(Gemma3Spec()).patches(Base(kernel), (side, side))
    if side <= 7:
        single = torch.eye(side * side).view(-1, 1, side, side)
        reads = nn.functional.avg_pool2d(single, kernel).flatten(1).T > 0
        assert [row.nonzero().flatten().tolist() for row in reads] == patches.index.tolist()
    assert patches.index.shape == ((side // kernel) ** 2, kernel**2)
    assert patches.index.unique().numel() == patches.index.numel()
    with torch.inference_mode():
        assert torch.equal(Gemma3(Gemma3Spec()).patches(Base(kernel), (side, side)).index, patches.index)
    row, col = patches.cells()
    assert (row * (side // kernel) + col).tolist() == list(range((side // kernel) ** 2))


def test_plans_and_pictures_without_marks_between() -> None:
    """Every picture is an image, whatever stands between them."""
    model, pruner = shared("gemma3"), keeping(4, saliency="received_attention")
    pixels = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[1, *[PLACEHOLDER] * 18, 5]])
    with pruner.attach(model) as pruning, torch.no_grad():
        model(input_ids=ids, pixel_values=pixels)
    plan = pruner.plan([(30, 999), (1, 1)], model=model)
    assert [(image.tokens, image.kept) for image in pruning.receipt.images] == [(9, 4), (9, 4)]
    assert [image.tokens for image in plan.layout.images] == [9, 9]
    assert plan.images == (4, 4)


@pytest.mark.parametrize("name", ["gemma3", "paligemma-suffix"])
def test_types_matter_and_are_shortened_with_the_ids(name: str) -> None:
    model, given = shared(name), prompts(name, [2, "1", 4], ["1", 9])
    inputs = {**given.inputs, "labels": given.ids}  # PaliGemma of 4.x looks at types only where it is trained
    seen: list[Any] = []
    hook = model.model.register_forward_pre_hook(lambda _, __, kwargs: seen.append(kwargs), with_kwargs=True)
    with keeping([3, 5], saliency="received_attention").attach(model) as pruning, torch.no_grad():
        got = model(**inputs).logits
        plain = model(**{**inputs, "token_type_ids": given.inputs["token_type_ids"] * 0}).logits
    hook.remove()
    full, short = given.inputs["token_type_ids"], seen[0]["token_type_ids"]
    real = pruning.positions >= 0
    assert torch.equal(short[real], full.gather(1, pruning.positions.clamp(min=0))[real])
    assert (got - plain).abs().max() > 0.05


def test_wrong_number_of_pictures() -> None:
    given = prompts("gemma3", [2, "1", 4])
    with (
        pytest.raises(scope.AttachError, match="2 images were given"),
        keeping(3, saliency="received_attention").attach(shared("gemma3")),
    ):
        shared("gemma3")(**{**given.inputs, "pixel_values": torch.ones(2, 3, SIDE, SIDE)})
