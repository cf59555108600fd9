"""What has to hold of every pruned LLaVA (design, section 6), on every kind of tower and decoder."""

from __future__ import annotations

import dataclasses
from typing import Any

import offers
import pytest
import torch
from torch import Tensor

import scope_core as scope
from adapters.guests import keeping
from adapters.models import MIXED, MODELS, ONE, PLACEHOLDER, TWO, Batch, batch, llava, shared, tokens_of
from adapters.reference import embeddings, generated, scope_kept
from adapters.snapshot import differences, snapshot

GREEDY = {"max_new_tokens": 6, "do_sample": False}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 3},
    "no cache": {**GREEDY, "use_cache": False},
    "sampling": {"max_new_tokens": 6, "do_sample": True, "top_k": 20},
    "several": {**GREEDY, "num_beams": 4, "num_return_sequences": 2},
}
SEEDLESS = [name for name in MODES if name != "sampling"]


def prompts(name: str, *rows: Any, **options: Any) -> Batch:
    return batch(*rows, tokens=tokens_of(name), **options)


def pruner(name: str, keep: Any, **options: Any) -> scope.Pruner:
    return keeping(keep, saliency="received_attention" if name == "siglip" else "cls_attention", **options)


def logits(model: Any, inputs: dict[str, Any]) -> Tensor:
    with torch.no_grad():
        return model(**inputs).logits


def generate(model: Any, inputs: dict[str, Any], mode: str) -> Tensor:
    torch.manual_seed(3)
    return model.generate(**inputs, **MODES[mode])


def unpruned(model: Any, given: Batch, mode: str) -> Tensor:
    torch.manual_seed(3)
    return generated(model, given, **MODES[mode])


@pytest.mark.parametrize("name", MODELS)
def test_models_read_their_images(name: str) -> None:
    """Otherwise nothing below would prove anything: other pixels, and other kept tokens, give other outputs."""
    model, given = shared(name), prompts(name, *TWO)
    other = dataclasses.replace(given, pixels=given.pixels.flip(0))
    moved = (logits(model, given.inputs) - logits(model, other.inputs))[:, -1].abs().amax(1)
    assert (moved > 0.1).all()
    assert (generate(model, given.inputs, "greedy") != generate(model, other.inputs, "greedy")).any(1).all()
    with pruner(name, 5).attach(model):
        few = generate(model, given.inputs, "greedy")
    assert (few != generate(model, given.inputs, "greedy")).any(1).all()


@pytest.mark.parametrize("rows", [ONE, TWO, MIXED], ids=["one", "two", "mixed"])
@pytest.mark.parametrize("name", MODELS)
def test_keeping_everything_changes_nothing(name: str, rows: Any) -> None:
    model, given = shared(name), prompts(name, *rows)
    wanted = logits(model, given.inputs), {mode: unpruned(model, given, mode) for mode in MODES}
    with pruner(name, tokens_of(name)).attach(model) as pruning:
        got = logits(model, given.inputs), {mode: generate(model, given.inputs, mode) for mode in MODES}
    assert torch.equal(got[0], wanted[0])
    for mode in MODES:
        assert torch.equal(got[1][mode], wanted[1][mode]), mode
    assert pruning.receipt.kept == pruning.receipt.tokens == tokens_of(name) * sum(given.images)
    assert torch.equal(pruning.positions, torch.arange(given.length).expand_as(given.ids))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", MODELS)
def test_kept_tokens_are_the_published_ones_and_logits_those_of_hand_built_embeddings(name: str, side: str) -> None:
    """On the last point every image of a batch has its own number of kept tokens."""
    model, given = shared(name), prompts(name, *MIXED, side=side)
    keep = [5, 3, 9]
    kept = scope_kept(model, given.pixels, keep)
    with pruner(name, keep).attach(model) as pruning:
        got = logits(model, given.inputs)
    selection = pruning.receipt.selection
    assert [row[:count].tolist() for row, count in zip(selection.kept, keep, strict=True)] == kept
    wanted = logits(model, embeddings(model, given, kept, side=side))
    real = pruning.positions >= 0
    real &= given.mask.gather(1, pruning.positions.clamp(min=0)).bool()
    assert got.shape == wanted.shape
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", MODELS)
def test_one_prompt_generates_what_hand_built_embeddings_generate(name: str) -> None:
    model, given = shared(name), prompts(name, *ONE)
    by_hand = embeddings(model, given, scope_kept(model, given.pixels, [5]))
    with pruner(name, 5).attach(model):
        pruned = logits(model, given.inputs)
        got = {mode: generate(model, given.inputs, mode) for mode in MODES}
    assert torch.equal(pruned, logits(model, by_hand))
    for mode in MODES:
        rows = got[mode].shape[0]
        assert torch.equal(got[mode][:, : given.length], given.ids.expand(rows, -1)), mode
        # inputs_embeds always uses the cache; without one, ids must come out the same
        assert torch.equal(got[mode][:, given.length :], generate(model, by_hand, mode)), mode


@pytest.mark.parametrize("keep", [(5, 3, 9), (0, 4, 2), (5, 0, 3), (4, 5, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("name", ["clip", "clip-full", "siglip", "qwen2"])
def test_ragged_batch_equals_single_runs(name: str, keep: tuple[int, ...]) -> None:
    """Beams especially: the host deals features out to samples by their counts."""
    model, given = shared(name), prompts(name, *MIXED)
    with pruner(name, keep).attach(model) as pruning:
        together = {mode: generate(model, given.inputs, mode)[:, given.length :] for mode in SEEDLESS}
    assert [image.kept for image in pruning.receipt.images] == list(keep)
    assert [image.prompt for image in pruning.receipt.images] == [0, 2, 2]
    for number in range(len(MIXED)):
        alone = given.row(number)
        with pruner(name, keep[given.owned(number)] or (0,)).attach(model):
            for mode in SEEDLESS:
                single = generate(model, alone.inputs, mode)[:, alone.length :]
                rows = len(single)
                assert torch.equal(together[mode][number * rows : (number + 1) * rows], single), (number, mode)


@pytest.mark.parametrize(
    "budget", [{"name": "ratio", "keep_ratio": 0.3}, {"name": "tokens", "keep": 14, "per": "total"}]
)
def test_receipt_counts_what_the_language_model_was_given(budget: dict[str, Any]) -> None:
    """Per image, not in total only: seen from the embeddings that are not those of any word."""
    model, given = shared("clip"), batch(*MIXED)
    seen: list[Tensor] = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        with scope.Pruner("scope", budget=budget).attach(model) as pruning:
            logits(model, given.inputs)
    finally:
        hook.remove()
    receipt = pruning.receipt
    words = model.get_input_embeddings().weight
    visual = (seen[-1][:, :, None] != words).any(-1).all(-1)
    assert visual.sum(1).tolist() == [
        sum(image.kept for image in receipt.images if image.prompt == row) for row in range(3)
    ]
    places = given.ids == PLACEHOLDER
    for image, (row, first) in enumerate([(0, 0), (2, 0), (2, 16)]):
        mine = places[row].nonzero().flatten()[first : first + 16]
        consumed = torch.isin(mine, pruning.positions[row])
        assert int(consumed.sum()) == receipt.images[image].kept
        assert (
            consumed.nonzero().flatten().tolist()
            == receipt.selection.kept[image, : receipt.images[image].kept].tolist()
        )
    assert receipt.kept == (15 if budget["name"] == "ratio" else 14)
    assert receipt.calls == 1


def test_padding_that_only_dropped_tokens_needed_goes_with_them() -> None:
    """A prompt without images must not hold a pruned batch at its full length."""
    model, given = shared("clip"), batch(*MIXED)
    with keeping(4).attach(model) as pruning:
        short = logits(model, given.inputs)
    longest = max(alone.length - 12 * alone.images[0] for alone in map(given.row, range(3)))
    assert short.shape[1] == pruning.positions.shape[1] == longest < given.length


@pytest.mark.parametrize("dtype", [pytest.param(torch.float16, marks=offers.half_products), torch.bfloat16], ids=str)
def test_half_precision(dtype: torch.dtype) -> None:
    """Selection computes in float32; keeping everything is exact, and ragged batches run."""
    model, given = llava(dtype=dtype), batch(*MIXED, dtype=dtype)
    wanted = logits(model, given.inputs), generate(model, given.inputs, "greedy")
    with keeping(16).attach(model) as pruning:
        assert torch.equal(logits(model, given.inputs), wanted[0])
        assert torch.equal(generate(model, given.inputs, "greedy"), wanted[1])
    assert pruning.receipt.selection.tokens.features.dtype == torch.float32
    with keeping([5, 3, 9]).attach(model) as pruning:
        assert logits(model, given.inputs).isfinite().all()
        generate(model, given.inputs, "beams")
    assert [image.kept for image in pruning.receipt.images] == [5, 3, 9]
    with keeping([5, 3, 9], dtype="as_is").attach(model) as pruning:
        generate(model, given.inputs, "greedy")
    assert pruning.receipt.selection.tokens.features.dtype == dtype


@pytest.mark.parametrize("failure", ["none", "body", "tower", "decoder", "plugin", "budget"])
@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_detached_tree_is_as_it_was_found(name: str, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared(name), prompts(name, *TWO)
    generate(model, given.inputs, "greedy")  # the library puts its own hooks in on the first call
    before = snapshot(model)
    error: type[Exception] = {"plugin": ZeroDivisionError, "budget": scope.BudgetError}.get(failure, RuntimeError)
    options = {"saliency": "broken"} if failure == "plugin" else {}
    keep = 99 if failure == "budget" else 5
    used = keeping(keep, **options) if options else pruner(name, keep)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    def use() -> None:
        with used.attach(model):
            if failure == "none":
                assert differences(before, snapshot(model)) != []
            broken = {"tower": model.model.vision_tower, "decoder": model.model.language_model.layers[1]}.get(failure)
            with monkeypatch.context() as patch:
                if broken is not None:
                    patch.setattr(broken, "forward", fail)
                generate(model, given.inputs, "greedy")
                logits(model, given.inputs)
            if failure == "body":
                fail()

    if failure == "none":
        use()
    else:
        with pytest.raises(error):
            use()
    assert differences(before, snapshot(model)) == []


def test_an_error_leaves_an_attached_model_usable() -> None:
    model, given = shared("clip"), batch(*TWO)
    with keeping(5).attach(model) as pruning:
        wanted = generate(model, given.inputs, "greedy")
        before = snapshot(model)
        with pytest.raises(scope.AttachError):
            model.generate(input_ids=given.ids[:, :-20], pixel_values=given.pixels)
        assert differences(before, snapshot(model)) == []
        assert torch.equal(generate(model, given.inputs, "greedy"), wanted)
        assert pruning.receipt.calls == 2
