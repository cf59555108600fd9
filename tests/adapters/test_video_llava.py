"""Video-LLaVA: images and videos through towers of their own, frames with a CLS row each."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import with_attention
from adapters.video_llava import OF_FRAME, PATCHES, PLACEHOLDER, SIDE, VIDEO, named, prompts, video_llava
from scope_adapters.compat.transformers import language_model
from scope_core.testing import PROPERTIES, check_adapter

pytestmark = named
MIXED = ([3, "video", 4], [6], [2, "image", 1, "video", 5])
MODES = {
    "greedy": {"do_sample": False},
    "beams": {"num_beams": 3, "do_sample": False},
    "no cache": {"use_cache": False, "do_sample": False},
}


@pytest.mark.parametrize("frame_cls", ["candidate", "keep"])
def test_every_promise_of_adapters_holds_for_videos(frame_cls: str) -> None:
    given = prompts(*MIXED)
    report = check_adapter(
        {"name": "video_llava", "frame_cls": frame_cls},
        video_llava(),
        lambda rows: given.inputs if len(rows) == 3 else given.row(rows[0]).inputs,
        decoder=language_model(video_llava()),
    )
    assert set(report.passed) == set(PROPERTIES) - {"plans_come_true"}, report


@pytest.mark.parametrize("order", [["image", 1, "video", 2, "video"], ["video", 2, "image", 1, "video"]])
@pytest.mark.parametrize("mode", MODES)
def test_keeping_everything_changes_nothing(order: list[Any], mode: str) -> None:
    model, given = video_llava(), prompts([3, *order, 4], [2], [1, "video", 2], frames=3)
    wanted = model.generate(**given.inputs, max_new_tokens=4, **MODES[mode])
    full = [PATCHES if kind == "image" else 3 * OF_FRAME for kind in order if isinstance(kind, str)]
    with keeping([*full, 3 * OF_FRAME]).attach(model) as pruning:
        assert torch.equal(model.generate(**given.inputs, max_new_tokens=4, **MODES[mode]), wanted)
    assert [image.tokens for image in pruning.receipt.images] == [*full, 3 * OF_FRAME]


def by_hand(tower: str, pixels: torch.Tensor) -> torch.Tensor:
    """(F, H, 1 + n) attention of CLS to all tokens in the last layer but one, from the tower's own maps."""
    twin = with_attention(video_llava(), "eager").model
    with torch.no_grad():
        maps = getattr(twin, tower)(pixels, output_attentions=True).attentions
    return maps[-2][:, :, 0].double()


def test_each_kind_is_read_by_its_own_tower() -> None:
    """Signals, places and frames of an image and a video, by hand."""
    model, given = video_llava(), prompts([2, "image", 1, "video", 5], frames=3)
    with keeping([5, 9], saliency="cls_attention").attach(model) as pruning:
        model(**given.inputs)
    tokens = pruning.receipt.selection.tokens
    got = tokens.signal("vision.cls_attention[-2]").double()
    image = by_hand("image_tower", given.pixels)[0, :, 1:]
    video = by_hand("video_tower", given.frames[0]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(got[0, :, :PATCHES], image, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[1], video, atol=1e-5, rtol=1e-4)
    assert tokens.frame[1].tolist() == [frame for frame in range(3) for _ in range(OF_FRAME)]
    assert tokens.row[1].tolist() == [-1, *[n // 4 for n in range(PATCHES)]] * 3
    assert tokens.col[1].tolist() == [-1, *[n % 4 for n in range(PATCHES)]] * 3


@pytest.mark.parametrize("frame_cls", ["keep", "drop"])
def test_cls_rows_apart_from_the_candidates(frame_cls: str) -> None:
    """Recipes that need the places of all tokens take such videos."""
    model, given = video_llava(), prompts([3, "video", 4], frames=3)
    spec = {
        "recipe": "divprune",
        "partition": "frame",
        "budget": {"name": "tokens", "keep": 4, "per": "frame"},
        "at": "projected",
        "adapter": {"name": "video_llava", "frame_cls": frame_cls},
    }
    pruner = scope.Pruner(spec)
    with pruner.attach(model) as pruning:
        model(**given.inputs)
    (video,) = pruning.receipt.images
    stay = 3 * (frame_cls == "keep")
    assert (video.tokens, video.kept, video.separators) == (3 * PATCHES, 12, stay)
    assert pruning.positions is not None
    assert pruning.positions.shape[1] == 8 + 12 + stay
    full = given.ids[0][pruning.positions[0]]
    firsts = {1 + 3 + frame * OF_FRAME for frame in range(3)}
    assert int((full == VIDEO).sum()) == 12 + stay
    assert len(firsts & set(pruning.positions[0].tolist())) == stay
    plan = pruner.plan([(3, SIDE, SIDE)], model=model)
    assert (plan.layout.images[0].frame_tokens, plan.layout.images[0].separators) == ((PATCHES,) * 3, stay)


@pytest.mark.parametrize(("frame_cls", "kept"), [("candidate", None), ("keep", 24), ("drop", 24)])
def test_parts_that_read_the_places_of_all_tokens(frame_cls: str, kept: int | None) -> None:
    model, given = video_llava(), prompts([3, "video", 4], frames=3)
    spec = {
        "recipe": "divprune",
        "selector": {"name": "quota", "partition": "windows"},
        "budget": 0.5,
        "at": "projected",
        "adapter": {"name": "video_llava", "frame_cls": frame_cls},
    }
    with scope.Pruner(spec).attach(model) as pruning:
        if kept is None:
            with pytest.raises(scope.TokensError, match="video 0, frame 0, token 0 has none"):
                model(**given.inputs)
            return
        model(**given.inputs)
    assert pruning.receipt.images[0].kept == kept


def test_plans_from_sizes_are_what_happens() -> None:
    model, given = video_llava(), prompts([2, "image", 1, "video", 5], frames=3)
    pruner = scope.Pruner({"recipe": "divprune", "at": "projected", "budget": 5})
    plan = pruner.plan([(40, 50), (3, 480, 640)], model=model)
    with pruner.attach(model) as pruning:
        model(**given.inputs)
    assert [image.tokens for image in plan.layout.images] == [image.tokens for image in pruning.receipt.images]
    assert plan.layout.images[1].frame_tokens == (OF_FRAME,) * 3
    assert given.inputs["input_ids"].eq(PLACEHOLDER).sum() == PATCHES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frames: frames[:, :0], r"pixel_values_videos is \(1, 0, 3, 28, 28\); .* at least one frame"),
        (lambda frames: [frames[0], frames[0, :1]], "pixel_values_videos is list; .* of one size and number"),
        (lambda frames: frames[:, :1], "video placeholders .* more than its videos fill"),
        (lambda frames: frames.repeat(1, 2, 1, 1, 1), "video placeholders left for video 0"),
    ],
)
def test_what_is_no_video_is_refused(change: Any, says: str) -> None:
    given = prompts([3, "video", 4])
    inputs = {**given.inputs, "pixel_values_videos": change(given.frames)}
    pruner = keeping(2, recipe="divprune", at="projected")
    with pruner.attach(video_llava()), pytest.raises(scope.AttachError, match=says):
        video_llava()(**inputs)
