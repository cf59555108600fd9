"""Videos of models that only the adapter `generic` serves: proven by a blank one, or refused with the reason."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters import any_type
from adapters.guests import keeping
from scope_adapters.adapters.geometry import geometry_of
from scope_adapters.compat.features import image_features
from scope_adapters.compat.transformers import language_model
from scope_adapters.hosts.huggingface.proof import Moving
from scope_core.testing import PROPERTIES, check_adapter

APART = ("glm4v", "glm46v", "glm4v_moe", "glm_ocr", "cosmos3_omni")
"""Types whose processors write a time before each frame."""
PROVEN = [name for name in (*APART, "exaone4_5", "ernie4_5_vl_moe") if name in any_type.available()]
REFUSED = {
    "video_llama_3": "its forward\\(\\) takes video_compression_mask",
    "kimi_k25": "4 blank frames have 4 rows, 2 have 4",
    "gemma4": "its videos come with video_grid_thw, unlike a blank image",
    "minicpmv4_6": "its videos come with .*target_sizes_videos",
    "aya_vision": "it has no get_video_features",
}
PLACES = "signals_and_places_belong_to_the_token_that_a_patch_moves"
ROWS = 2, 3
"""Rows and columns of tokens of a frame."""


def merged(name: str) -> int:
    return 2 if name == "ernie4_5_vl_moe" else 1


class Videos:
    """Prompts with videos of so many frames of the grid each, padded on the left."""

    def __init__(self, name: str, *prompts: Sequence[int]) -> None:
        known = geometry_of(any_type.model(name))
        assert isinstance(known.video, Moving)
        self.name, self.side, self.prompts = name, known.side, prompts
        self.values, self.placeholder = known.images["pixel_values"].shape[1], known.video.placeholder
        self.tokens = [frames // merged(name) * ROWS[0] * ROWS[1] for videos in prompts for frames in videos]
        generator = torch.Generator().manual_seed(2)
        self.pixels = [
            [torch.randn(frames * self.patches, self.values, generator=generator) for frames in videos]
            for videos in prompts
        ]

    @property
    def patches(self) -> int:
        """Patches of a frame."""
        return ROWS[0] * ROWS[1] * self.side**2

    def ids(self, prompt: int) -> list[int]:
        made = [1, 5, 6 + prompt]
        for frames in self.prompts[prompt]:
            made.append(any_type.MARKS["video_start_token_id"])
            for frame in range(frames // merged(self.name)):
                run = [self.placeholder] * (ROWS[0] * ROWS[1])
                made += [30 + frame, *run] if self.name in APART else run
            made += [any_type.MARKS["video_end_token_id"], 20 + frames]
        return made

    def inputs(self, numbers: Sequence[int]) -> dict[str, Tensor]:
        """Arguments of ``generate`` and ``forward`` for some prompts."""
        rows = [self.ids(number) for number in numbers]
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        made = {"input_ids": ids, "attention_mask": (ids != 0).long()}
        made["mm_token_type_ids"] = (ids == self.placeholder).int() * 2
        if self.name == "exaone4_5":
            del made["mm_token_type_ids"]
        pixels = [video for number in numbers for video in self.pixels[number]]
        grids = [[frames, ROWS[0] * self.side, ROWS[1] * self.side] for n in numbers for frames in self.prompts[n]]
        if pixels:
            made |= {"pixel_values_videos": torch.cat(pixels), "video_grid_thw": torch.tensor(grids)}
        return made


KIT = {"ernie4_5_vl_moe": {PLACES: "the kit changes pixels of one frame, and a token is made of two"}}


def host_fails(model: Any, inputs: dict[str, Tensor]) -> dict[str, str]:
    """What the model as it comes cannot do: beams with videos, of GLM, which looks for another placeholder."""
    try:
        model.generate(**inputs, max_new_tokens=2, num_beams=2, do_sample=False)
    except ValueError as error:
        return {"keeping_all_tokens_changes_nothing": f"unpruned, too: {error}"}
    return {}


@pytest.mark.parametrize("name", PROVEN)
def test_every_promise_of_adapters_holds_for_videos(name: str) -> None:
    model, given = any_type.model(name), Videos(name, [2], [], [4, 2])
    failing = host_fails(model, given.inputs([0, 1, 2]))
    expected = {**failing, **KIT.get(name, {})}
    report = check_adapter("generic", model, given.inputs, decoder=language_model(model), expected_failures=expected)
    untried = {"plans_come_true", *(("logits_match_hand_built_embeddings",) if name in any_type.AXES else ())}
    assert set(report.passed) == set(PROPERTIES) - untried - set(report.expected_failures), report


@pytest.mark.parametrize("name", PROVEN)
def test_frames_are_those_of_the_pixels(name: str) -> None:
    """By frame, by looking which rows new pixels of one frame move; and their rows and columns are known."""
    model, given = any_type.model(name), Videos(name, [4])
    inputs = given.inputs([0])
    with keeping(5, recipe="divprune", at="projected").attach(model, adapter="generic") as pruning, torch.no_grad():
        model(**inputs)
    tokens = pruning.receipt.selection.tokens
    assert pruning.receipt.images[0].frames == 4 // merged(name)

    def rows(pixels: Tensor) -> Tensor:
        videos = {"pixel_values_videos": pixels, "video_grid_thw": inputs["video_grid_thw"]}
        made = image_features(model.model, videos, lambda all_rows: [all_rows], "get_video_features")
        return torch.cat([one.reshape(-1, one.shape[-1]) for one in made.pooler_output])

    with torch.no_grad():
        before = rows(inputs["pixel_values_videos"])
        for frame in range(4):
            pixels = inputs["pixel_values_videos"].clone()
            pixels[frame * given.patches : (frame + 1) * given.patches] += 3
            change = (rows(pixels) - before).norm(dim=1)
            most = tokens.frame[0, :][: len(change)][change.argmax()]
            assert int(most) == frame // merged(name)
    assert tokens.row[0].view(-1, 6).tolist() == [[0, 0, 0, 1, 1, 1]] * (4 // merged(name))
    assert tokens.col[0].view(-1, 6).tolist() == [[0, 1, 2, 0, 1, 2]] * (4 // merged(name))


@pytest.mark.parametrize("name", PROVEN)
def test_keeping_everything_changes_nothing(name: str) -> None:
    """In the modes in which the model as it comes generates at all."""
    model, inputs = any_type.model(name), Videos(name, [2], [], [4, 2]).inputs([0, 1, 2])
    for mode in ({}, {"use_cache": False}):
        wanted = model.generate(**inputs, max_new_tokens=3, do_sample=False, **mode)
        with scope.Pruner({"recipe": "divprune", "budget": 1.0, "at": "projected"}).attach(model, adapter="generic"):
            assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False, **mode), wanted)


@pytest.mark.parametrize("name", PROVEN)
def test_budgets_by_frame_and_recipes_for_videos(name: str) -> None:
    model, given = any_type.model(name), Videos(name, [4, 2])
    budget = {"name": "tokens", "keep": 2, "per": "frame"}
    spec = {"recipe": "divprune", "partition": "frame", "at": "projected", "budget": budget}
    for one in (spec, {"recipe": "vidcom2", "budget": 0.5}, {"recipe": "fastvid@no_cls", "budget": 0.5}):
        try:
            pruner = scope.Pruner(one)
            pruner.check(model)
        except scope.SignalError:  # of the tower
            continue
        with pruner.attach(model) as pruning, torch.no_grad():
            model(**given.inputs([0]))
        if one is spec:
            assert [image.kept for image in pruning.receipt.images] == [8 // merged(name), 4 // merged(name)]


@pytest.mark.parametrize(("name", "why"), [one for one in REFUSED.items() if one[0] in any_type.served()])
def test_unproven_videos_are_refused_with_the_reason(name: str, why: str) -> None:
    model, given = any_type.model(name), any_type.prompts(name).row(0).inputs
    with (
        scope.Pruner("random@2").attach(model, adapter="generic"),
        pytest.raises(scope.AttachError, match=rf"pixel_values_videos was given, .* images only: .* \({why}"),
    ):
        model(**given, pixel_values_videos=torch.zeros(4, 4))


def beside(name: str) -> tuple[Any, dict[str, Any]]:
    """A prompt with a video and, behind it, a blank image."""
    known, video = geometry_of(any_type.model(name)), Videos(name, [2]).inputs([0])
    more = torch.tensor([[*[any_type.PLACEHOLDER] * known.rows, 9]])
    made = {"input_ids": torch.cat([video["input_ids"], more], 1)}
    made["attention_mask"] = torch.ones_like(made["input_ids"])
    if "mm_token_type_ids" in video:
        kinds = (more == any_type.PLACEHOLDER).to(video["mm_token_type_ids"])
        made["mm_token_type_ids"] = torch.cat([video["mm_token_type_ids"], kinds], 1)
    return any_type.model(name), {**video, **made, **known.images}


@pytest.mark.parametrize("name", [name for name in PROVEN if not name.startswith("glm")])
def test_an_image_behind_a_video(name: str) -> None:
    model, inputs = beside(name)
    wanted = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    pruner = scope.Pruner({"recipe": "divprune", "budget": 1.0, "at": "projected"})
    with pruner.attach(model, adapter="generic") as pruning:
        assert torch.equal(model.generate(**inputs, max_new_tokens=3, do_sample=False), wanted)
    assert [image.frames for image in pruning.receipt.images] == [2 // merged(name), 0]


@pytest.mark.parametrize("name", [name for name in PROVEN if name.startswith("glm")])
def test_one_placeholder_for_both_kinds(name: str) -> None:
    model, inputs = beside(name)
    says = r"pixel_values and pixel_values_videos: .* one placeholder \(id 150\) for images and videos"
    pruner = keeping(2, recipe="divprune", at="projected")
    with pruner.attach(model, adapter="generic"), pytest.raises(scope.AttachError, match=says):
        model(**inputs)


@pytest.mark.skipif("exaone4_5" not in PROVEN, reason="transformers without EXAONE 4.5")
@pytest.mark.parametrize(
    ("rows_of", "why"),
    [
        (lambda rows: rows.flip(0), "the rows of its frames are not one after another"),
        (lambda rows: rows[:-1], "4 blank frames have 63 rows, 2 have 31, and an image has 16"),
        (lambda rows: rows / 0 if rows.numel() else 1 // 0, "do not enter the prompt as those of a blank video do"),
        (lambda rows: [][0], r"a blank video does not pass through it \(IndexError"),
    ],
)
def test_videos_that_the_trial_does_not_prove(rows_of: Callable[[Tensor], Tensor], why: str) -> None:
    """Frames in another order, rows that are missing, rows that equal nothing, and code that fails."""
    model = copy.deepcopy(any_type.model("exaone4_5"))
    inner = type(model.model).get_video_features

    @functools.wraps(inner)
    def get_video_features(*args: Any, **kwargs: Any) -> Any:
        output = inner(*args, **kwargs)
        output.pooler_output = [rows_of(rows) for rows in output.pooler_output]
        return output

    model.model.__class__ = type("Changed", (type(model.model),), {"get_video_features": get_video_features})
    found = geometry_of(model).video
    assert isinstance(found, str)
    assert re.search(why, found)
