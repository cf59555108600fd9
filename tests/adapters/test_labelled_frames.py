"""Videos whose processors give frames as labelled images (InternVL, SmolVLM), as videos of the layout."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scope_core as scope
from adapters import frame_processors as real
from adapters import tiled
from adapters.guests import keeping
from adapters.models import PLACEHOLDER
from scope_adapters.compat.transformers import language_model
from scope_adapters.hosts.huggingface.prompt import runs
from scope_core.testing import PROPERTIES, check_adapter

TOKENS = 9
VIDEOS = {name: {"name": name, "frames": "videos"} for name in ("internvl", "smolvlm")}
TEXTS = ["Look:\n<video>\n<video>\nand <IMG_CONTEXT>\nWhat?", "See <IMG_CONTEXT>\n<video> Now?"]


def adapter(name: str, **options: Any) -> Any:
    return scope.default_registry().build_named("adapter", name, **options)


def internvl(frames: int = 11) -> dict[str, Any]:
    """Two prompts: two videos before an image of three tiles; an image of one tile before a video."""
    images = [real.picture(80, 40), real.picture(40, 40)]
    videos = [real.video(frames, seed) for seed in range(3)]
    made = real.internvl()(text=TEXTS, images=images, videos=videos, padding=True, return_tensors="pt")
    return dict(made)


def smolvlm(*texts: str, frames: int = 3, fps: float = 1.0) -> dict[str, Any]:
    """As many videos as the texts have."""
    count = sum(text.count("<video>") for text in texts)
    with pytest.MonkeyPatch.context() as patch:
        processor = real.smolvlm(patch)
        made = processor(
            text=list(texts),
            videos=[real.video(frames, seed) for seed in range(count)],
            video_metadata=[real.seconds(frames, fps) for _ in range(count)],
            do_sample_frames=False,
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
    return {name: value for name, value in made.items() if name in ("input_ids", "attention_mask", "pixel_values")}


def items(receipt: scope.Receipt) -> list[tuple[int, int, int]]:
    """``(prompt, frames, tokens)`` of each item."""
    return [(image.prompt, image.frames, image.tokens) for image in receipt.images]


@real.real
@pytest.mark.parametrize("mode", [{}, {"num_beams": 3}, {"use_cache": False}], ids=["greedy", "beams", "no cache"])
def test_internvl_tells_videos_and_images_apart(mode: dict[str, Any]) -> None:
    model, inputs = tiled.shared("internvl"), internvl()
    options = {"max_new_tokens": 3, "do_sample": False, **mode}
    wanted = model.generate(**inputs, **options)
    full = [99, 99, 27, 9, 99]
    with keeping(full, adapter=VIDEOS["internvl"]).attach(model) as pruning:
        assert torch.equal(model.generate(**inputs, **options), wanted)
    assert items(pruning.receipt) == [(0, 11, 99), (0, 11, 99), (0, 0, 27), (1, 0, 9), (1, 11, 99)]
    tokens = pruning.receipt.selection.tokens
    assert tokens.frame[1].tolist() == [frame for frame in range(11) for _ in range(TOKENS)]
    assert not tokens.frame[2][tokens.valid[2]].any()
    with keeping([*[9] * 22, 27, 9, *[9] * 11]).attach(model) as pruning, torch.no_grad():
        model(**inputs)
    assert not any(image.frames for image in pruning.receipt.images)


@real.real
def test_budgets_are_of_videos_and_frames() -> None:
    model, inputs = tiled.shared("internvl"), internvl(3)
    spec = {"recipe": "divprune", "at": "projected", "adapter": VIDEOS["internvl"]}
    for partition, per, kept in (
        ("video", "video", [7, 7, 7, 7, 7]),
        ("frame", "video", [7, 7, 7, 7, 7]),
        ("frame", "frame", [21, 21, 7, 7, 21]),
        ("image", "image", [7, 7, 7, 7, 7]),
    ):
        budget = {"name": "tokens", "keep": 7, "per": per}
        pruner = scope.Pruner({**spec, "partition": partition, "budget": budget})
        with pruner.attach(model) as pruning, torch.no_grad():
            model(**inputs)
        assert [image.kept for image in pruning.receipt.images] == kept, (partition, per)
    with scope.Pruner("scope@by_segment@25%", adapter=VIDEOS["internvl"]).attach(model) as pruning, torch.no_grad():
        model(**inputs)
    assert [image.kept for image in pruning.receipt.images] == [7, 7, 7, 2, 7]
    plan = pruner.plan([(3, 448, 448)], model=model)
    assert plan.layout.images[0].frame_tokens == (TOKENS,) * 3


@real.real
@pytest.mark.parametrize("fps", [1.0, 3.0])
def test_smolvlm_goes_by_the_text_between_frames(fps: float) -> None:
    """Frames of one second have one time; another video begins with an introduction."""
    model = tiled.shared("smolvlm")
    inputs = smolvlm("User:<video><video>Which?", "User:<video>", "Hi", fps=fps)
    wanted = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    with keeping([27] * 3, saliency="received_attention", adapter=VIDEOS["smolvlm"]).attach(model) as pruning:
        assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), wanted)
    assert items(pruning.receipt) == [(0, 3, 27), (0, 3, 27), (1, 3, 27)]


@real.real
@pytest.mark.parametrize("name", VIDEOS)
def test_a_video_of_one_frame_is_an_image(name: str) -> None:
    model = tiled.shared(name)
    text = real.internvl()(text="<video>", videos=[real.video(1)], return_tensors="pt")
    inputs = smolvlm("User:<video>", frames=1) if name == "smolvlm" else dict(text)
    with keeping(4, recipe="divprune", adapter=VIDEOS[name], at="projected").attach(model) as pruning, torch.no_grad():
        model(**inputs)
    assert items(pruning.receipt) == [(0, 0, 9)]


@real.real
def test_images_in_crops_stay_images_beside_frames() -> None:
    """SmolVLM's crops have framing tokens between them, and no label."""
    row = [3, "2x2", 4, "1", 2, "1", 3]
    model, given_ = tiled.shared("smolvlm"), tiled.prompts("smolvlm", row)
    pruner = keeping([9] * 3, recipe="divprune", adapter=VIDEOS["smolvlm"], at="projected")
    with pruner.attach(model) as pruning, torch.no_grad():
        model(**given_.inputs)
    assert items(pruning.receipt) == [(0, 0, 45), (0, 0, 9), (0, 0, 9)]


@real.real
@pytest.mark.parametrize("name", VIDEOS)
def test_every_promise_of_adapters_holds_for_labelled_frames(name: str) -> None:
    model, start, end = tiled.shared(name), 151, 152

    def video(frames: int) -> list[int]:
        ids = [120, 121]
        for frame in range(frames):
            ids += [9, 122, 130 + frame, 123, start, *[PLACEHOLDER] * TOKENS, start if name == "smolvlm" else end]
        return ids

    generator = torch.Generator().manual_seed(4)
    rows = [[1, 5, *video(2), 6], [1, 7], [1, *video(2), 50, 51, 52, *video(3), 8]]
    frames = [2, 0, 5]
    pixels = [torch.randn(count, 3, tiled.SIDE, tiled.SIDE, generator=generator) for count in frames]

    def inputs(numbers: Any) -> dict[str, Any]:
        longest = max(len(rows[n]) for n in numbers)
        ids = torch.tensor([[0] * (longest - len(rows[n])) + rows[n] for n in numbers])
        made = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        mine = [pixels[n] for n in numbers]
        if not any(map(len, mine)):
            return made
        padded = torch.nn.utils.rnn.pad_sequence(mine, batch_first=True)
        return {**made, "pixel_values": padded if name == "smolvlm" else torch.cat(mine)}

    report = check_adapter(VIDEOS[name], model, inputs, decoder=language_model(model))
    assert set(report.passed) == set(PROPERTIES) - {"plans_come_true"}, report
    with keeping([3, 4, 5], recipe="divprune", adapter=VIDEOS[name], at="projected").attach(model) as pruning:
        model(**inputs((0, 1, 2)))
    assert items(pruning.receipt) == [(0, 2, 18), (2, 2, 18), (2, 3, 27)]


START, END, LINE, FRAME, COLON, SPACE = 160, 161, 162, 163, 164, 165


def written(pieces: list[Any], digits: int) -> tuple[list[int], list[int]]:
    """Ids of a prompt as InternVL's processor writes it, and the item of each run. A number is a video of frames."""
    ids, owners, item = [1], [], 0
    for piece in pieces:
        if isinstance(piece, str):
            ids += {"text": [40, 41], "line": [LINE], "image": [START, *[PLACEHOLDER] * 4, END]}[piece]
            owners += [item] if piece == "image" else []
            item += piece == "image"
            continue
        for frame in range(1, piece + 1):
            number = [100 + int(digit) for digit in str(frame)] if digits else [100 + frame]
            ids += [LINE] * (frame > 1) + [FRAME, *number, COLON, SPACE, START, *[PLACEHOLDER] * 4, END]
            owners.append(item)
        item += 1
    return ids, owners


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(["text", "line", "image"]), st.integers(2, 12)), min_size=1, max_size=7),
    st.booleans(),
)
def test_items_are_what_was_written(pieces: list[Any], digits: bool) -> None:
    ids, owners = written(pieces, digits)
    found = runs(torch.tensor([ids]), PLACEHOLDER)
    got = adapter("internvl", frames="videos").grouped(torch.tensor([ids]), found)
    assert got == owners
    assert adapter("internvl").grouped(torch.tensor([ids]), found) == list(range(len(owners)))


@pytest.mark.parametrize("pieces", [[1], [1, 3], [3, "line", 1], [1, "text", 2], ["image", 1, "line", 2]])
def test_videos_of_one_frame_are_items_of_their_own(pieces: list[Any]) -> None:
    for digits in (True, False):
        ids, owners = written(pieces, digits)
        found = runs(torch.tensor([ids]), PLACEHOLDER)
        assert adapter("internvl", frames="videos").grouped(torch.tensor([ids]), found) == owners


def test_items_end_with_their_prompt() -> None:
    ids, owners = written([3], True)
    twice = torch.tensor([ids, ids])
    got = adapter("internvl", frames="videos").grouped(twice, runs(twice, PLACEHOLDER))
    assert got == [*owners, *[1 + one for one in owners]]


@pytest.mark.parametrize("clock", [["00:09", "00:10", "00:11"], ["09:59", "10:00", "10:01"], ["00:00", "00:00"]])
def test_times_count_on(clock: list[str]) -> None:
    ids = [1, 40, 41]
    for time in clock:
        ids += [LINE, FRAME, *[100 + ord(sign) - 48 for sign in time], COLON, START, SPACE, *[PLACEHOLDER] * 4, START]
    found = runs(torch.tensor([ids]), PLACEHOLDER)
    assert adapter("smolvlm", frames="videos").grouped(torch.tensor([ids]), found) == [0] * len(clock)
