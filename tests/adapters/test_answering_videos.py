"""Videos encoded once, alone and beside images: the same answers as `generate` of the attached model gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

import scope_core as scope
from adapters import anyres, qwen, video_llava
from adapters.clips import clips
from adapters.test_answering import LENGTH, plainly, questions
from scope_core.adapters import Asked, Reader, point_of, reusable

MIXED = ([3, "video", 4], [2, (25, 56), 1, "video", 5])
PACKED = ([3, (3, 4, 6), 4], [2, (4, 6), 1, (2, 6, 4), 2, (1, 2, 6), 2, (2, 4), 5], [4, (4, 4), 2])
"""A video; images around two videos, one of them of one frame; an image alone."""

Made = tuple[Any, list[dict[str, Any]]]


def _qwen(name: str) -> Made:
    given = qwen.prompts(*PACKED, stamped=name.startswith("qwen3"))
    rows = [dict(given.row(number).inputs) for number in range(3)]
    if name == "qwen2_5_vl":  # seconds between groups of frames, of which positions in time are made
        for row, steps in zip(rows, ([2.0], [1.0, 0.5], []), strict=True):
            row |= {"second_per_grid_ts": torch.tensor(steps)} if steps else {}
    return qwen.shared(name), rows


def _pooled(model: Any) -> Made:
    given = clips(model, *MIXED, frames=3)
    return model, [dict(given.row(number).inputs) for number in range(2)]


def _video_llava() -> Made:
    given = video_llava.prompts([3, "video", 4], [2, "image", 1, "video", 2, "video", 5], [1, "image", 2], frames=3)
    return video_llava.video_llava(), [dict(given.row(number).inputs) for number in range(3)]


CASES: dict[str, Callable[[], Made]] = {
    **{name: partial(_qwen, name) for name in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", *qwen.MORE)},
    "llava_onevision": lambda: _pooled(anyres.onevision_model()),
    "llava_next_video": lambda: _pooled(anyres.next_model(kind="LlavaNextVideo")),
    "video_llava": _video_llava,
}
MARKS = {"qwen3_vl": qwen.qwen3_vl, "video_llava": video_llava.named, **{name: qwen.mark(name) for name in qwen.MORE}}
NAMES = [pytest.param(name, marks=MARKS.get(name, ())) for name in CASES]
SPECS: tuple[dict[str, Any], ...] = (
    {"recipe": "uniform_frames", "budget": 0.4, "at": "projected"},
    {
        "recipe": "divprune",
        "partition": "frame",
        "budget": {"name": "tokens", "keep": 1, "per": "frame"},
        "at": "vision",
    },
)


def select(pruner: scope.Pruner, encoding: Any) -> scope.Selection:
    return pruner.prune(encoding.tokens, encoding.layout)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", SPECS, ids=["over all frames", "by frame"])
def test_answers_are_those_of_generate(name: str, spec: dict[str, Any]) -> None:
    """Several questions about each prompt's items, in one batch and in others."""
    model, rows = CASES[name]()
    pruner = scope.Pruner(spec)
    prompts = [questions(inputs) for inputs in rows]
    wanted = [plainly(model, pruner, inputs) for mine in prompts for inputs in mine]
    with pruner.attach(model) as pruning:
        asked = []
        for mine in prompts:
            encoding = pruning.encode(mine[0])
            asked += [Asked(inputs, encoding, select(pruner, encoding)) for inputs in mine]
        together = [ids.tolist() for ids in pruning.answer(asked, max_new_tokens=LENGTH)]
        turned = [ids.tolist() for ids in pruning.answer(asked[::-2], max_new_tokens=LENGTH)]
    assert together == wanted
    assert turned == wanted[::-2]
    assert len({tuple(ids) for ids in wanted}) > 1, "the answers do not depend on the prompt"


@pytest.mark.parametrize("name", NAMES)
def test_several_pruners_select_from_one_encoding(name: str) -> None:
    """One of them keeps everything, which answers as the model without a pruner does."""
    model, rows = CASES[name]()
    pruners = [scope.Pruner({"recipe": recipe, "budget": 0.5, "at": "projected"}) for recipe in ("vidcom2", "divprune")]
    pruners.append(scope.Pruner({"recipe": "divprune", "budget": 1.0, "at": "projected"}))
    assert len({point_of(pruner) for pruner in pruners}) == 1
    assert all(reusable(pruner, model) for pruner in pruners)
    needs = frozenset().union(*(pruner.needs for pruner in pruners))
    with Reader(pruners[0], needs).attach(model) as pruning:
        encodings = [pruning.encode(inputs) for inputs in rows]
    for pruner in pruners:
        wanted = [plainly(model, pruner, inputs) for inputs in rows]
        with pruner.attach(model) as pruning:
            asked = [
                Asked(inputs, encoding, select(pruner, encoding))
                for inputs, encoding in zip(rows, encodings, strict=True)
            ]
            assert [ids.tolist() for ids in pruning.answer(asked, max_new_tokens=LENGTH)] == wanted
    whole = [model.generate(**inputs, max_new_tokens=LENGTH, do_sample=False)[0, -LENGTH:].tolist() for inputs in rows]
    assert wanted == whole


@qwen.mark("qwen3_vl")
def test_merged_features_of_further_layers() -> None:
    """DeepStack features of two prompts, merged by what was selected in each."""
    model, rows = CASES["qwen3_vl"]()
    pruner = scope.Pruner({"recipe": "tome", "budget": 0.5, "at": "projected"})
    wanted = [plainly(model, pruner, inputs) for inputs in rows]
    with pruner.attach(model) as pruning:
        encodings = [pruning.encode(inputs) for inputs in rows]
        asked = [Asked(row, one, select(pruner, one)) for row, one in zip(rows, encodings, strict=True)]
        assert [ids.tolist() for ids in pruning.answer(asked, max_new_tokens=LENGTH)] == wanted


class TestRefusals:
    def test_items_in_another_order(self) -> None:
        model = qwen.shared("qwen2_vl")
        one, other = (dict(qwen.prompts(row).inputs) for row in ([3, (4, 6), 2, (1, 4, 6)], [3, (1, 4, 6), 2, (4, 6)]))
        pruner = scope.Pruner(SPECS[0])
        with pruner.attach(model) as pruning:
            encoding = pruning.encode(one)
            selection = select(pruner, encoding)
            with pytest.raises(scope.AttachError, match=r"prompt 0: .* not those of .* order: image, video"):
                pruning.answer([Asked(other, encoding, selection)])

    def test_placeholders_that_do_not_fit(self) -> None:
        model = qwen.shared("qwen2_vl")
        given = dict(qwen.prompts([3, (3, 4, 6), 4]).inputs)
        pruner = scope.Pruner(SPECS[0])
        with pruner.attach(model) as pruning:
            encoding = pruning.encode(given)
            selection = select(pruner, encoding)
            fewer = {"input_ids": given["input_ids"][:, :12]}
            with pytest.raises(scope.AttachError, match="video placeholders left for video 0, which has 18 tokens"):
                pruning.answer([Asked(fewer, encoding, selection)])
            with pytest.raises(scope.AttachError, match=r"18 video placeholders \(id 151\) more"):
                pruning.answer([Asked(given)])
            with pytest.raises(scope.AttachError, match="nothing to encode: pixel_values and pixel_values_videos"):
                pruning.encode({"input_ids": given["input_ids"]})

    def test_seconds_of_some_videos_only(self) -> None:
        model, (first, second, _) = CASES["qwen2_5_vl"]()
        del second["second_per_grid_ts"]
        pruner = scope.Pruner(SPECS[0])
        with pruner.attach(model) as pruning:
            asked = [Asked(row, one, select(pruner, one)) for row in (first, second) if (one := pruning.encode(row))]
            with pytest.raises(scope.AttachError, match="second_per_grid_ts was given with 1 of 3 encoded videos"):
                pruning.answer(asked)

    def test_videos_of_models_without_them(self) -> None:
        from adapters import models

        inputs = {**models.batch([3, "image", 4]).inputs, "pixel_values_videos": torch.zeros(1, 2, 3, 28, 28)}
        with (
            scope.Pruner("scope@4").attach(models.shared("clip")) as pruning,
            pytest.raises(scope.AttachError, match="prunes images only"),
        ):
            pruning.encode(inputs)
