"""Videos in Qwen-VL models, alone and beside images: pruning equals the whole model with dropped tokens masked.

As in `test_qwen2_vl`, the reference is the model as it comes: the full prompt, its own positions in time, height and
width, and attention to dropped tokens masked away.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import counts_on, takes_text_positions
from adapters.qwen import MODELS, PATCH, PLACEHOLDER, VIDEO, Prompts, prompts, qwen3_vl, shared
from adapters.test_qwen2_vl import MODES, language_calls, logits
from scope_adapters.compat.transformers import language_model
from scope_core import Layout
from scope_core.testing import PROPERTIES, check_adapter

CLIP = ([3, (3, 4, 6), 4],)
MIXED = ([2, (4, 6), 1, (3, 4, 6), 4], [6], [2, (1, 2, 6), 1, (2, 6, 4), 2, (2, 4), 5])
"""Recipes: one video; an image and a video, no item, and two videos (the first of one frame) before an image."""
TOKENS = [6, 18, 3, 12, 2]
KEEP = [4, 7, 3, 5, 1]
PLACES = ("signals_and_places_belong_to_the_token_that_a_patch_moves", "offered_signals_are_delivered")


def made(name: str, rows: Any, side: str = "left") -> Prompts:
    return prompts(*rows, side=side, stamped=name == "qwen3_vl")


def pruner(keep: Any, **options: Any) -> scope.Pruner:
    return keeping(keep, saliency={"name": "received_attention", "layer": -2}, **options)


def masked(model: Any, given: Prompts, selection: scope.Selection) -> dict[str, Tensor]:
    """The full call without attention to dropped tokens; items in the order of the prompt."""
    stay = torch.ones_like(given.ids, dtype=torch.bool)
    spots = (given.ids == PLACEHOLDER) | (given.ids == VIDEO)
    counts = selection.tokens.valid.sum(1).tolist()
    stay[spots] = torch.cat([mask[:count] for mask, count in zip(selection.mask, counts, strict=True)])
    names = ("pixel_values", "pixel_values_videos")
    axes, _ = model.model.get_rope_index(**{k: v for k, v in given.inputs.items() if k not in names})
    if takes_text_positions(model):
        axes = torch.cat([((given.mask.cumsum(-1) - 1) * given.mask)[None], axes])
    return {**given.inputs, "attention_mask": given.mask * stay, "position_ids": axes}


@pytest.mark.parametrize("name", MODELS)
def test_pruned_equals_the_full_prompt_with_tokens_masked(name: str) -> None:
    model, given = shared(name), made(name, MIXED)
    modes = ("greedy", "beams", "no cache")
    with pruner(KEEP, at="projected").attach(model) as pruning:
        got = logits(model, given.inputs)
        ids = {mode: model.generate(**given.inputs, **MODES[mode]) for mode in modes}
    assert [(image.tokens, image.kept) for image in pruning.receipt.images] == list(zip(TOKENS, KEEP, strict=True))
    full = masked(model, given, pruning.receipt.selection)
    wanted = logits(model, full).gather(1, pruning.positions.clamp(min=0)[..., None].expand_as(got))
    real = (pruning.positions >= 0) & given.mask.gather(1, pruning.positions.clamp(min=0)).bool()
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)
    for mode in modes if counts_on(model) else ():
        assert torch.equal(ids[mode], model.generate(**full, **MODES[mode])), mode


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_equals_single_prompts_and_keeping_everything_changes_nothing(name: str) -> None:
    model, given = shared(name), made(name, MIXED, "right")
    wanted = logits(model, given.inputs)
    with pruner(TOKENS).attach(model):
        assert torch.equal(logits(model, given.inputs), wanted)
    left = made(name, MIXED)
    with pruner(KEEP).attach(model):
        together = model.generate(**left.inputs, **MODES["greedy"])[:, left.length :]
    for row, keep in ((0, KEEP[:2]), (2, KEEP[2:])):
        with pruner(keep).attach(model):
            alone = left.row(row)
            assert torch.equal(model.generate(**alone.inputs, **MODES["greedy"])[0, alone.length :], together[row])


@pytest.mark.parametrize("name", MODELS)
def test_kept_tokens_keep_their_time_and_stamps_stay(name: str) -> None:
    """By hand: (time, row, column) in the full prompt; Qwen3-VL's frames are apart, with a time before each."""
    model, given = shared(name), made(name, CLIP)
    calls, hook = language_calls(model)
    inputs = dict(given.inputs)
    if name == "qwen2_5_vl":
        inputs["second_per_grid_ts"] = torch.tensor([2.0])
    try:
        with pruner(7).attach(model) as pruning:
            logits(model, inputs)
    finally:
        hook.remove()
    got = calls[0]["position_ids"][-3:, 0].T.tolist()
    skipped = ("pixel_values_videos", "attention_mask")
    full = int(model.model.get_rope_index(**{k: v for k, v in inputs.items() if k not in skipped})[0][0, 0, -5])
    selection, wanted, last = pruning.receipt.selection, [[n] * 3 for n in range(4)], 4
    step = int(2 * model.config.vision_config.tokens_per_second) if name == "qwen2_5_vl" else 1
    kept = selection.kept[0].tolist()
    for frame in range(3):
        mine = [token - 6 * frame for token in kept if token // 6 == frame]
        if name == "qwen3_vl" or frame == 0:
            stamp = 3 if name == "qwen3_vl" else 1  # two tokens of time, and the start of the frame
            wanted += [[last + n] * 3 for n in range(stamp)]
            first = last = last + stamp
        time = first if name == "qwen3_vl" else first + step * frame
        wanted += [[time, first + token // 3, first + token % 3] for token in mine]
        if name == "qwen3_vl":
            wanted.append([last + 3] * 3)  # the end of the frame, behind its longer side
            last += 4
    if name != "qwen3_vl":
        last = first + 3 if step == 1 else full  # releases differ in where text goes on behind spaced frames
        wanted.append([last] * 3)
        last += 1
    wanted += [[last + n] * 3 for n in range(4)]
    assert got == wanted
    tokens = selection.tokens
    assert tokens.frame[0].tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert tokens.row[0].tolist() == [0, 0, 0, 1, 1, 1] * 3
    times = [0.0] * 6 + [2.0] * 6 + [4.0] * 6
    assert (tokens.time is None) if name != "qwen2_5_vl" else (tokens.time[0].tolist() == times)


@pytest.mark.parametrize("name", MODELS)
def test_budgets_by_frame_are_as_planned(name: str) -> None:
    model, given = shared(name), made(name, MIXED)
    layout = Layout.of([6, [6] * 3, [3], [6] * 2, 2], prompts=[0, 0, 2, 2, 2], videos=[1, 2, 3])
    for partition, per in (("frame", "frame"), ("frame", "video"), ("video", "video")):
        spec = {
            "recipe": "divprune",
            "partition": partition,
            "budget": {"name": "tokens", "keep": 2, "per": per},
            "at": "projected",
        }
        plan = scope.Pruner(spec).plan(layout)
        with scope.Pruner(spec).attach(model) as pruning:
            logits(model, given.inputs)
        selection = pruning.receipt.selection
        assert sum(selection.counts) == plan.total
        if partition == "frame":
            frames = [
                (image, number) for image, item in enumerate(layout.images) for number in range(len(item.frames) or 1)
            ]
            kept = [int((selection.mask[i] & (selection.tokens.frame[i] == f)).sum()) for i, f in frames]
            assert kept == list(plan.counts)


def test_stages_inside_the_language_model_read_videos_and_their_frames() -> None:
    """Pruned before layer 0 equals pruned before the language model; a later stage still sees frames."""
    model, given = shared("qwen2_vl"), made("qwen2_vl", MIXED)
    with keeping(KEEP, recipe="divprune", at="projected").attach(model) as before:
        logits(model, given.inputs)
    later = {"recipe": "divprune", "budget": 1, "at": "decoder[1]"}
    with keeping(KEEP, recipe="divprune", at="projected", then=[later]).attach(model) as inside:
        got = logits(model, given.inputs)
    (stage,) = inside.receipt.later
    assert [image.kept for image in stage.images] == [1] * 5
    assert stage.selection.tokens.frame[1].max() == 2
    assert [image.frames for image in inside.receipt.images] == [0, 3, 1, 2, 0]
    assert "video 1 of 3 frames (prompt 0): 18 -> 7" in str(inside.receipt)
    seen = stage.selection.tokens
    left = [len(frame[valid].unique()) for frame, valid in zip(seen.frame, seen.valid, strict=True)]
    assert [image.frames for image in stage.images] == [0, *left[1:4], 0]
    assert got.shape[1] < before.positions.shape[1]


@pytest.mark.parametrize("name", MODELS)
def test_plans_from_sizes_are_what_happens(name: str) -> None:
    """Frames are merged in twos, an odd one with itself; the first image of a prompt counts for itself."""
    model, given = shared(name), made(name, ([2, (4, 6), 1, (3, 4, 6), 4],))
    spec: dict[str, Any] = {"recipe": "divprune", "partition": "frame", "at": "projected"}
    spec |= {"budget": {"name": "tokens", "keep": 5, "per": "image"}}
    plan = scope.Pruner(spec).plan([(4 * PATCH, 6 * PATCH), (5, 4 * PATCH, 6 * PATCH)], model=model)
    assert plan.counts == (5, 2, 2, 1)
    with scope.Pruner(spec).attach(model) as pruning:
        logits(model, given.inputs)
    assert [(image.tokens, image.kept) for image in pruning.receipt.images] == [(6, 5), (18, 5)]
    assert [image.tokens for image in plan.layout.images] == [6, 18]
    with pytest.raises(
        scope.TokensError, match=r"item 0 is \(0, 28, 42\); give .* \(frames, height, width\) of a video"
    ):
        scope.Pruner(spec).plan([(0, 4 * PATCH, 6 * PATCH)], model=model)


class TestRefusals:
    MODEL, GIVEN = "qwen2_vl", prompts(*CLIP)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"video_grid_thw": None}, "pixel_values_videos holds 72 patches, but video_grid_thw was not given"),
            ({"video_grid_thw": torch.tensor([[2, 4, 6]])}, r"video_grid_thw \[\[2, 4, 6\]\] makes 48 patches"),
            (
                {"video_grid_thw": torch.tensor([[3, 4, 6], [0, 4, 6]])},
                "has an item without frames, rows or columns",
            ),
            (
                {"input_ids": torch.cat([GIVEN.ids, torch.tensor([[VIDEO]])], 1)},
                r"1 video placeholders \(id 151\) more than its videos fill",
            ),
            ({"input_ids": GIVEN.ids[:, :-12]}, "video placeholders left for video 0, which has 18 tokens"),
        ],
    )
    def test_what_the_processor_would_not_give(self, change: dict[str, Any], says: str) -> None:
        inputs = {**self.GIVEN.inputs, **change}
        inputs = {key: value for key, value in inputs.items() if key not in ("attention_mask", "mm_token_type_ids")}
        with pruner(4).attach(shared(self.MODEL)), pytest.raises(scope.AttachError, match=says):
            logits(shared(self.MODEL), inputs)

    def test_calls_beside_pruning(self) -> None:
        model = shared(self.MODEL)
        says = "input_ids holds video placeholders .* pixel_values_videos is missing"
        with pruner(4).attach(model), pytest.warns(UserWarning, match=says):
            model(input_ids=self.GIVEN.ids, attention_mask=self.GIVEN.mask)
        spec = {"recipe": "divprune", "budget": {"name": "tokens", "keep": 9, "per": "frame"}, "at": "projected"}
        with scope.Pruner(spec).attach(model), pytest.raises(scope.BudgetError, match="video 0, frame 0 has 6 tokens"):
            logits(model, self.GIVEN.inputs)


def host_fails(model: Any, given: Prompts) -> dict[str, str]:
    """What the model as it comes cannot do: beams of several videos (Qwen3-VL in 4.57)."""
    try:
        model.generate(**given.inputs, **MODES["beams"])
    except RuntimeError as error:
        return {"keeping_all_tokens_changes_nothing": f"unpruned, too: {error}"}
    return {}


@pytest.mark.parametrize(
    ("name", "only"),
    [("qwen2_vl", ()), ("qwen2_5_vl", PLACES), pytest.param("qwen3_vl", (), marks=qwen3_vl)],
)
def test_every_promise_of_adapters_holds_for_videos(name: str, only: tuple[str, ...]) -> None:
    model = shared(name)
    given = made(name, ([3, (2, 4, 6), 4], [6], [2, (2, 2, 4), 1, (1, 6, 4), 5]))
    report = check_adapter(
        name,
        model,
        lambda rows: given.inputs if len(rows) == 3 else given.row(rows[0]).inputs,
        decoder=language_model(model),
        only=only,
        expected_failures={} if only else host_fails(model, given),
    )
    untried = {"plans_come_true", "logits_match_hand_built_embeddings", *report.expected_failures}
    assert set(report.passed) == ({*PLACES, "adapter_fits_the_model"} if only else set(PROPERTIES) - untried), report
