"""Videos whose frames are pooled: LLaVA-OneVision and LLaVA-NeXT-Video, alone and beside images."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from adapters import anyres
from adapters.clips import Clips, clips
from adapters.guests import keeping
from adapters.installed import with_attention
from scope_adapters.compat.transformers import language_model
from scope_core.testing import PROPERTIES, check_adapter

NAMES = ("llava_onevision", "llava_next_video")
MIXED = ([3, "video", 4], [6], [2, (25, 56), 1, "video", 5])
BESIDE = MIXED[2]


def shared(name: str) -> Any:
    return anyres.onevision_model() if name == NAMES[0] else anyres.next_model(kind="LlavaNextVideo")


@pytest.mark.parametrize("name", NAMES)
def test_every_promise_of_adapters_holds_for_videos(name: str) -> None:
    model = shared(name)
    given = clips(model, *MIXED)
    report = check_adapter(
        name,
        model,
        lambda rows: given.inputs if len(rows) == 3 else given.row(rows[0]).inputs,
        decoder=language_model(model),
    )
    assert set(report.passed) == set(PROPERTIES) - {"plans_come_true"}, report


def by_hand(model: Any, given: Clips, name: str, family: str) -> torch.Tensor:
    """(F * m,) the last layer's attention that each token gets, from the tower's own maps: means of 2 x 2 patches."""
    tower = with_attention(model, "eager").model.vision_tower
    with torch.no_grad():
        maps = tower(given.frames.flatten(0, 1), output_attentions=True).attentions[-1].double()
    patches = maps[:, :, 0, 1:] if family == "vision.cls_attention" else maps.mean(2)
    square = patches.mean(1).unflatten(1, (anyres.GRID, anyres.GRID))
    return square.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4)).flatten()


@pytest.mark.parametrize("name", NAMES)
def test_signals_are_pooled_as_frames_are(name: str) -> None:
    family = "vision.received_attention" if name == NAMES[0] else "vision.cls_attention"
    model, given = shared(name), clips(shared(name), [3, "video", 4], frames=3)
    saliency = {"name": family.removeprefix("vision."), "layer": -1}
    with keeping(5, saliency=saliency).attach(model) as pruning:
        model(**given.inputs)
    tokens = pruning.receipt.selection.tokens
    got = tokens.signal(f"{family}[-1]")[0].double().mean(0)
    torch.testing.assert_close(got, by_hand(model, given, name, family), atol=1e-5, rtol=1e-4)
    assert tokens.frame[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert tokens.row[0].tolist() == [0, 0, 1, 1] * 3


@pytest.mark.parametrize("newlines", ["keep", "drop", "keep_if_row_kept"])
def test_the_newline_behind_a_video(newlines: str) -> None:
    model, given = shared(NAMES[0]), clips(shared(NAMES[0]), [3, "video", 4])
    for keep, stays in ((3, newlines != "drop"), (0, newlines == "keep")):
        options = {"adapter": {"name": NAMES[0], "newlines": newlines}, "saliency": "received_attention"}
        with keeping(keep, **options).attach(model) as pruning:
            model(**given.inputs)
        (video,) = pruning.receipt.images
        assert (video.tokens, video.kept, video.separators) == (8, keep, int(stays))
        assert pruning.positions.shape[1] == given.ids.shape[1] - 8 + keep - (not stays)


@pytest.mark.parametrize("name", NAMES)
def test_an_image_beside_a_video_has_a_budget_of_its_own(name: str) -> None:
    model, given = shared(name), clips(shared(name), BESIDE)
    options = {"recipe": "divprune", "at": "projected", "partition": "frame"}
    with scope.Pruner({**options, "budget": {"name": "tokens", "keep": 3, "per": "frame"}}).attach(model) as pruning:
        model(**given.inputs)
    selection = pruning.receipt.selection
    assert [image.kept for image in pruning.receipt.images] == [3, 6]
    assert selection.tokens.frame[1][selection.mask[1]].tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("name", NAMES)
def test_plans_from_sizes_are_what_happens(name: str) -> None:
    model, given = shared(name), clips(shared(name), BESIDE, frames=3)
    pruner = scope.Pruner({"recipe": "divprune", "at": "projected", "budget": 5})
    plan = pruner.plan([(25, 56), (3, 480, 640)], model=model)
    with pruner.attach(model) as pruning:
        model(**given.inputs)
    planned = [(image.tokens, image.separators) for image in plan.layout.images]
    assert planned == [(image.tokens, image.separators) for image in pruning.receipt.images]
    assert plan.images == (5, 5)
    assert plan.layout.images[1].frame_tokens == (4, 4, 4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frames: frames[:, :0], r"pixel_values_videos is \(1, 0, 3, 28, 28\); .* at least one frame"),
        (lambda frames: frames[0], r"pixel_values_videos is \(2, 3, 28, 28\)"),
        (lambda frames: [frames[0], frames[0, :1]], "pixel_values_videos is list; .* of one size and number"),
        (lambda frames: frames[:, :1], "video placeholders .* more than its videos fill"),
        (lambda frames: frames.repeat(1, 2, 1, 1, 1), "video placeholders left for video 0"),
        (lambda frames: frames.repeat(2, 1, 1, 1, 1), "2 videos were given, but the prompts have placeholders"),
    ],
)
def test_what_is_no_video_is_refused(name: str, change: Any, says: str) -> None:
    model, given = shared(name), clips(shared(name), [3, "video", 4])
    inputs = {**given.inputs, "pixel_values_videos": change(given.frames)}
    with keeping(2, recipe="divprune", at="projected").attach(model), pytest.raises(scope.AttachError, match=says):
        model(**inputs)
