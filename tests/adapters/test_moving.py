"""Calls with videos on every kind of model that takes them: modes of generation, batches, and what they hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GenerationMixin

import scope_core as scope
from adapters.moving import KINDS, MARKS, Calls, Row
from scope_adapters.compat.transformers import takes_encoder_outputs

NAMES = [pytest.param(name, marks=MARKS.get(name, ())) for name in KINDS]
UNEQUAL: list[Row] = [[3, "3", 2, "image", 4], [2], [1, "image", 1, "1", 2, "2", 3]]
"""Videos of three frames, one and two; images behind and before them; a prompt of words."""
EQUAL: list[Row] = [[3, "3", 2, "image", 4], [2], [1, "image", 1, "3", 2, "3", 3]]
MODES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beams": {"num_beams": 3},
    "no cache": {"use_cache": False},
    "chunks": {"prefill_chunk_size": 7},
}
LAST = torch.tensor(-1)
NEW: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}


def made(name: str) -> tuple[Any, Calls, dict[str, Any]]:
    """A model, its prompts, and options of the pruner."""
    kind = KINDS[name]
    options = {} if kind.adapter is None else {"adapter": kind.adapter}
    return kind.model(), kind.calls(UNEQUAL if kind.unequal else EQUAL), options


def generated(model: Any, inputs: dict[str, Any], mode: str) -> Any:
    """New ids of each prompt; the error where the model as it comes cannot generate so."""
    length = inputs["input_ids"].shape[1]
    return model.generate(**inputs, **NEW, **MODES[mode])[:, length:].tolist()


def right(model: Any, inputs: dict[str, Any], mode: str) -> bool:
    """True if the model answers rightly in this mode without a pruner.

    Releases before encoder outputs leave images out of chunks, and give beams the pixels of other items of the prompt;
    some read no pixels after the first token where nothing is cached.
    """
    own = type(model)._expand_inputs_for_generation is not GenerationMixin._expand_inputs_for_generation
    if mode in ("beams", "chunks"):
        return takes_encoder_outputs(model) or (own and mode == "beams")
    return mode == "greedy" or generated(model, inputs, mode) == generated(model, inputs, "greedy")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NAMES)
def test_keeping_everything_changes_nothing(name: str, mode: str) -> None:
    model, given, options = made(name)
    if not right(model, given.inputs, mode):
        pytest.skip(f"this transformers gives wrong answers to videos with {mode}, without a pruner too")
    wanted = generated(model, given.inputs, mode)
    counts = [tokens for _, _, tokens in given.items]
    pruner = scope.Pruner({"recipe": "uniform_frames", "budget": 1.0, "at": "projected", **options})
    with pruner.attach(model) as pruning:
        assert generated(model, given.inputs, mode) == wanted
    images = pruning.receipt.images
    assert [(image.prompt, image.frames) for image in images] == [(prompt, frames) for prompt, frames, _ in given.items]
    assert [image.kept for image in images] == [image.tokens for image in images]
    assert all(image.tokens == count for image, count in zip(images, counts, strict=True) if image.frames)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", ["vision", "projected"])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_equals_its_prompts_alone(name: str, at: str, mode: str) -> None:
    """By frame, one token each; and the same ids in every mode that picks the likeliest."""
    model, given, options = made(name)
    if mode == "chunks" and not right(model, given.inputs, mode):
        pytest.skip("this transformers leaves images out of chunks, without a pruner too")
    spec = {"recipe": "divprune", "partition": "frame", "at": at, **options}
    pruner = scope.Pruner({**spec, "budget": {"name": "tokens", "keep": 2, "per": "frame"}})
    with pruner.attach(model) as pruning:
        together = generated(model, given.inputs, mode)
        kept = [image.kept for image in pruning.receipt.images]
        alone = [generated(model, row, mode)[0] for row in given.rows]
        greedy = generated(model, given.inputs, "greedy")
    assert together == alone
    assert kept == [2 * max(frames, 1) for _, frames, _ in given.items]
    assert mode == "beams" or together == greedy
    assert len({tuple(ids) for ids in greedy}) > 1, "answers do not depend on the prompt"


FEW = {"name": "tokens", "keep": 3, "if_short": "keep_all"}
INSIDE: dict[str, dict[str, Any]] = {
    "fastv": {"recipe": "fastv", "at": "decoder[1]", "saliency": {"layer": 1}},
    "pyramiddrop": {
        "recipe": "pyramiddrop",
        "at": "decoder[1]",
        "saliency": {"layer": 1},
        "then": [{"at": "decoder[2]", "saliency": {"layer": 2}, "budget": {**FEW, "keep": 1}}],
    },
}
RECURRENT = ("qwen3_5", "qwen3_5_moe")


@pytest.mark.parametrize("recipe", INSIDE)
@pytest.mark.parametrize("name", NAMES)
def test_stages_inside_the_language_model(name: str, recipe: str) -> None:
    """Everything kept is exact; a batch is its prompts, and no cache changes nothing; recurrent models are refused."""
    model, given, options = made(name)
    whole = {**INSIDE[recipe], "budget": 1.0, **options}
    whole |= {"then": [{**stage, "budget": 1.0} for stage in whole["then"]]} if "then" in whole else {}
    if name in RECURRENT:
        with pytest.raises(scope.AdapterError, match=r"cannot be pruned at 'decoder\[1\]'"):
            scope.Pruner(whole).attach(model)
        return
    for mode in (mode for mode in ("greedy", "beams", "no cache") if right(model, given.inputs, mode)):
        wanted = generated(model, given.inputs, mode)
        with scope.Pruner(whole).attach(model):
            assert generated(model, given.inputs, mode) == wanted, mode
    with scope.Pruner({**INSIDE[recipe], "budget": FEW, **options}).attach(model) as pruning:
        for mode in ("greedy", "beams", "no cache"):
            together = generated(model, given.inputs, mode)
            receipt = pruning.receipt
            assert together == [generated(model, row, mode)[0] for row in given.rows], mode
            assert mode == "beams" or together == generated(model, given.inputs, "greedy")
        with pytest.raises(scope.AttachError, match="prefill_chunk_size"):
            generated(model, given.inputs, "chunks")
    assert [image.kept for image in receipt.images] == [3] * len(given.items)
    assert [image.frames for image in receipt.images] == [frames for _, frames, _ in given.items]
    assert all(image.kept == 1 for stage in receipt.later for image in stage.images)
    assert len(receipt.later) == (recipe == "pyramiddrop")


@pytest.mark.parametrize("name", NAMES)
def test_one_frame(name: str) -> None:
    """A video, except where its processor's labels cannot tell it from an image."""
    kind = KINDS[name]
    model, given = kind.model(), kind.calls([[3, "1", 4]])
    options = {} if kind.adapter is None else {"adapter": kind.adapter}
    wanted = generated(model, given.inputs, "greedy")
    spec = {"recipe": "divprune", "partition": "frame", "at": "projected", **options}
    with scope.Pruner({**spec, "budget": 1.0}).attach(model) as pruning:
        assert generated(model, given.inputs, "greedy") == wanted
    assert [image.frames for image in pruning.receipt.images] == [1 if kind.adapter is None else 0]


class TestBadInput:
    """On every kind of model: what is no video is refused in words, before anything runs."""

    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda call, pixels, place: {pixels: call[pixels][:0]}, "holds no pixels.* at least one frame"),
            (lambda call, pixels, place: _along(call, slice(None, -6)), "placeholders"),
            (lambda call, pixels, place: {"input_ids": call["input_ids"].index_fill(1, LAST, place)}, "placeholders"),
        ],
        ids=["no frames", "fewer placeholders", "more placeholders"],
    )
    def test_pixels_and_placeholders(self, name: str, change: Any, says: str) -> None:
        kind = KINDS[name]
        model, call = kind.model(), kind.calls([[3, "3", 4]]).inputs
        pixels = "pixel_values_videos" if kind.adapter is None else "pixel_values"
        place = model.config.video_token_id if kind.adapter is None else model.config.image_token_id
        options = {} if kind.adapter is None else {"adapter": kind.adapter}
        pruner = scope.Pruner({"recipe": "divprune", "at": "projected", "budget": 2, **options})
        with pruner.attach(model), pytest.raises(scope.AttachError, match=says):
            generated(model, {**call, **change(call, pixels, place)}, "greedy")

    @pytest.mark.parametrize("name", NAMES)
    def test_budgets(self, name: str) -> None:
        """Fewer tokens than frames: one each for the first; a share of none, or more than a frame has, is refused."""
        kind = KINDS[name]
        model, call = kind.model(), kind.calls([[3, "3", 4]])
        (_, _, tokens), options = call.items[0], {} if kind.adapter is None else {"adapter": kind.adapter}
        spec = {"recipe": "divprune", "at": "projected", "partition": "frame", **options}
        few = {"name": "tokens", "keep": 2, "per": "video"}
        with scope.Pruner({**spec, "budget": few}).attach(model) as pruning:
            generated(model, call.inputs, "greedy")
        selection = pruning.receipt.selection
        assert selection is not None
        assert selection.tokens.frame[0][selection.mask[0]].tolist() == [0, 1]
        for budget, says in (
            ({"name": "ratio", "keep_ratio": 0.01, "per": "frame"}, "keeps none of the .* tokens of video 0, frame 0"),
            ({"name": "tokens", "keep": tokens, "per": "frame"}, f"keeps {tokens} per frame, but video 0, frame 0 has"),
        ):
            with scope.Pruner({**spec, "budget": budget}).attach(model), pytest.raises(scope.BudgetError, match=says):
                generated(model, call.inputs, "greedy")

    @pytest.mark.parametrize("name", NAMES)
    def test_recipes_that_read_the_question(self, name: str) -> None:
        """A signal that the model cannot give is named; a prompt without words rates all tokens alike."""
        kind = KINDS[name]
        model, options = kind.model(), {} if kind.adapter is None else {"adapter": kind.adapter}
        with pytest.raises(scope.SignalError, match=r"text_relevance.* needs clip\.text_similarity"):
            scope.Pruner("cdpruner@5", **options).attach(model)
        call = kind.calls([["2"]]).inputs
        saliency = {"name": "prompt_relevance"}
        spec = {"recipe": "saliency_only", "saliency": saliency, "budget": 5, "at": "projected", **options}
        with scope.Pruner(spec).attach(model) as pruning:
            generated(model, call, "greedy")
        assert pruning.receipt.images[0].kept == 5


def _along(call: dict[str, Any], part: slice) -> dict[str, Any]:
    """A part of everything that runs along the prompt."""
    shape = call["input_ids"].shape
    return {name: value[:, part] for name, value in call.items() if getattr(value, "shape", None) == shape}


def test_an_image_id_among_the_words_of_a_video() -> None:
    """Without images it is a word of the prompt, and no text to compare with."""
    kind = KINDS["qwen2_vl"]
    model, call = kind.model(), kind.calls([[3, "2", 4]]).inputs
    ids = call["input_ids"].index_fill(1, torch.tensor(1), model.config.image_token_id)
    try:
        model(**{**call, "input_ids": ids})
    except ValueError as error:
        pytest.skip(f"this transformers refuses it without a pruner: {error}")
    with scope.Pruner({"recipe": "mmtok", "budget": 5}).attach(model) as pruning, torch.no_grad():
        model(**{**call, "input_ids": ids})
    assert pruning.receipt.images[0].kept == 5
