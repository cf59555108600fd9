"""Qwen-VL models: merged patches, positions of three axes. Pruning has to equal the whole model with tokens masked.

The reference is the model as it comes, on the full prompt, with its own positions and with attention to dropped
tokens masked away: kept tokens and text must come out the same wherever they stand.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
from typing import Any, Literal

import oracles
import pytest
import torch
import transformers as hf
from torch import Tensor

import scope_core as scope
from adapters.guests import keeping
from adapters.installed import (
    cache_of,
    counts_on,
    features_of,
    mixes_up_beams,
    step,
    takes_text_positions,
    takes_token_types,
)
from adapters.models import VOCABULARY
from adapters.qwen import END, MIXED, MODELS, ONE, PATCH, PLACEHOLDER, READ, Prompts, prompts, qwen, shared, watch
from adapters.snapshot import differences, snapshot
from scope_adapters.compat.transformers import takes_encoder_outputs
from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Entry, SaliencySource, hookimpl

told_token_types = pytest.mark.skipif(
    not takes_token_types(hf.Qwen2VLForConditionalGeneration),
    reason="models of this transformers find their images by the ids",
)
GREEDY = {"max_new_tokens": 6, "do_sample": False}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 2},
    "no cache": {**GREEDY, "use_cache": False},
    "several": {**GREEDY, "num_beams": 3, "num_return_sequences": 2},
}
KEEP = [5, 3, 2]


def pruner(name: str, keep: Any, **options: Any) -> scope.Pruner:
    return keeping(keep, saliency={"name": "received_attention", "layer": -2}, **options)


class ReaderSpec(ComponentSpec):
    """Reads signals."""

    name: Literal["reader"] = "reader"
    names: tuple[str, ...]


class Reader(SaliencySource[ReaderSpec]):
    """Asks for signals, and rates all tokens alike."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset(self.spec.names)

    def score(self, tokens: VisualTokens) -> Tensor:
        for name in self.spec.names:
            tokens.signal(name)
        return torch.ones(tokens.shape[:2])


@hookimpl
def scope_saliency_sources() -> list[Entry]:
    return [Entry(ReaderSpec, Reader, "reads signals")]


def reading(names: list[str]) -> scope.Pruner:
    registry = scope.default_registry().with_module(sys.modules[__name__], name="reader")
    return scope.Pruner(
        {"recipe": "scope", "budget": 4, "saliency": {"name": "reader", "names": names}}, registry=registry
    )


def logits(model: Any, inputs: dict[str, Any], **options: Any) -> Tensor:
    with torch.no_grad():
        return model(**inputs, **options).logits


def generate(model: Any, inputs: dict[str, Any], mode: str) -> Tensor:
    return model.generate(**inputs, **MODES[mode])


def staying(given: Prompts, selection: scope.Selection) -> Tensor:
    """(B, L) bool: False for dropped tokens."""
    stay = torch.ones_like(given.ids, dtype=torch.bool)
    kept = [mask[:count] for mask, count in zip(selection.mask, given.tokens, strict=True)]
    stay[given.ids == PLACEHOLDER] = torch.cat(kept)
    return stay


def generate_masked(model: Any, given: Prompts, selection: scope.Selection, mode: str) -> Tensor:
    """What the model generates on the full prompt with attention to dropped tokens masked away.

    Where it does not count on from given positions, it numbers the prompt itself, from a mask that hides nothing.
    """
    if counts_on(model):
        return generate(model, masked(model, given, selection), mode)
    stay, number = staying(given, selection), model.model.get_rope_index

    def numbered(*args: Any, attention_mask: Tensor | None = None, **kwargs: Any) -> Any:
        if attention_mask is None:
            *args, attention_mask = args
        hidden = (~stay).repeat_interleave(len(attention_mask) // len(stay), 0)
        attention_mask = attention_mask.clone()
        attention_mask[:, : given.length][hidden] = 1
        return number(*args, attention_mask=attention_mask, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model.model, "get_rope_index", numbered)
        return generate(model, {**given.inputs, "attention_mask": given.mask * stay}, mode)


def masked(model: Any, given: Prompts, selection: scope.Selection) -> dict[str, Tensor]:
    """The full call, with attention to dropped tokens masked away and positions as the model numbers all of them."""
    stay = staying(given, selection)
    axes, _ = model.model.get_rope_index(**{k: v for k, v in given.inputs.items() if k != "pixel_values"})
    if takes_text_positions(model):
        axes = torch.cat([text_positions(given)[None], axes])
    return {**given.inputs, "attention_mask": given.mask * stay, "position_ids": axes}


def text_positions(given: Prompts) -> Tensor:
    """(B, L): real tokens counted, whatever they are."""
    return (given.mask.cumsum(-1) - 1) * given.mask


def language_calls(model: Any) -> tuple[list[dict[str, Any]], Any]:
    """Every call of the language model from now on, and the hook to remove."""
    calls: list[dict[str, Any]] = []
    inner = model.model.language_model
    return calls, inner.register_forward_pre_hook(lambda _, __, kwargs: calls.append(kwargs), with_kwargs=True)


@pytest.mark.parametrize("name", MODELS)
def test_models_read_their_images(name: str) -> None:
    """Otherwise nothing below would prove anything: other pixels, and other kept tokens, give other outputs."""
    model, given = shared(name), prompts(*MIXED)
    other = dataclasses.replace(given, pixels=given.pixels.roll(7, 0))
    moved = (logits(model, given.inputs) - logits(model, other.inputs))[:, -1].abs().amax(1)
    assert (moved[[0, 2]] > 0.1).all()
    assert moved[1] == 0
    full = generate(model, given.inputs, "greedy")
    with pruner(name, KEEP).attach(model):
        few = generate(model, given.inputs, "greedy")
    assert (few != full).any(1).tolist() == [True, False, True]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("rows", [ONE, MIXED], ids=["one", "mixed"])
@pytest.mark.parametrize("name", MODELS)
def test_keeping_everything_changes_nothing(name: str, rows: Any, side: str) -> None:
    model, given = shared(name), prompts(*rows, side=side)
    wanted = logits(model, given.inputs), {mode: generate(model, given.inputs, mode) for mode in MODES}
    deltas = model.model.rope_deltas
    with pruner(name, given.tokens).attach(model) as pruning:
        got = logits(model, given.inputs), {mode: generate(model, given.inputs, mode) for mode in MODES}
        each, wide = (len(made) // len(given.ids) for made in (deltas, model.model.rope_deltas))  # or one per beam
        assert torch.equal(model.model.rope_deltas[::wide], deltas[::each])
    assert torch.equal(got[0], wanted[0])
    mixed = takes_token_types(model) and mixes_up_beams(model, given.images)  # by the host itself (5.18)
    for mode in MODES if not mixed else ("greedy", "no cache"):
        assert torch.equal(got[1][mode], wanted[1][mode]), mode
    assert [image.kept for image in pruning.receipt.images] == given.tokens
    assert torch.equal(pruning.positions, torch.arange(given.length).expand_as(given.ids))


def test_prompts_are_numbered_once_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the installed release does with padding is asked of a class of models once, not in every call."""
    model, given = shared("qwen2_vl"), prompts(*ONE)
    with pruner("qwen2_vl", 5).attach(model):
        logits(model, given.inputs)
        number, numbered = type(model.model).get_rope_index, []
        monkeypatch.setattr(
            type(model.model),
            "get_rope_index",
            functools.wraps(number)(lambda *args, **kwargs: (numbered.append(1), number(*args, **kwargs))[1]),
        )
        logits(model, given.inputs)
    assert numbered == [1]


@pytest.mark.parametrize("at", ["vision", "projected"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", MODELS)
def test_pruned_equals_the_full_prompt_with_tokens_masked(name: str, side: str, at: str) -> None:
    model, given = shared(name), prompts(*MIXED, side=side)
    with pruner(name, KEEP, at=at).attach(model) as pruning:
        got = logits(model, given.inputs)
        ids = {mode: generate(model, given.inputs, mode) for mode in MODES}
    reference = masked(model, given, pruning.receipt.selection)
    wanted = logits(model, reference)
    real = (pruning.positions >= 0) & given.mask.gather(1, pruning.positions.clamp(min=0)).bool()
    assert int(real.sum()) == int(given.mask.sum()) - sum(given.tokens) + sum(KEEP)
    wanted = wanted.gather(1, pruning.positions.clamp(min=0)[..., None].expand_as(got))
    torch.testing.assert_close(got[real], wanted[real], atol=2e-4, rtol=0)
    if side == "left":
        mixed = takes_token_types(model) and mixes_up_beams(model, given.images)  # earlier ones deal images out rightly
        for mode in MODES if not mixed else ("greedy", "no cache"):
            assert torch.equal(ids[mode], generate_masked(model, given, pruning.receipt.selection, mode)), mode


@pytest.mark.parametrize("masks", ["mask", "no mask"])
@pytest.mark.parametrize("name", MODELS)
def test_a_single_prompt_without_cache_or_mask(name: str, masks: str) -> None:
    """Where nothing says otherwise, transformers takes a gap in text positions for the start of another prompt."""
    model, given = shared(name), prompts(*ONE)
    inputs = {key: value for key, value in given.inputs.items() if masks == "mask" or key != "attention_mask"}
    calls, hook = language_calls(model)
    try:
        with pruner(name, 5).attach(model) as pruning:
            got = logits(model, inputs, use_cache=False)
            cached, uncached = generate(model, inputs, "greedy"), generate(model, inputs, "no cache")
    finally:
        hook.remove()
    reference = masked(model, given, pruning.receipt.selection)
    wanted = logits(model, reference, use_cache=False)[:, pruning.positions[0]]
    torch.testing.assert_close(got, wanted, atol=2e-4, rtol=0)
    assert torch.equal(cached, uncached)
    assert torch.equal(uncached, generate_masked(model, given, pruning.receipt.selection, "no cache"))
    if not takes_text_positions(model):
        return
    assert calls[0]["position_ids"][0].tolist() == [list(range(got.shape[1]))]
    # and the trap is there: the same call with text positions as they were loses most of its context
    gapped = torch.cat([pruning.positions[None], calls[0]["position_ids"][1:]])
    with torch.no_grad():
        states = model.model.language_model(
            **{**calls[0], "position_ids": gapped, "attention_mask": None}
        ).last_hidden_state
        moved = (model.lm_head(states) - got)[:, -1].abs().max()
    assert moved > 0.1


@pytest.mark.parametrize("name", MODELS)
def test_positions_are_those_of_the_full_prompt(name: str) -> None:
    """By hand: text counts on, an image spans rows and columns, what follows starts behind its longer side."""
    model, given = shared(name), prompts(*MIXED)
    counts_padding = not takes_token_types(model)
    calls, hook = language_calls(model)
    try:
        with pruner(name, KEEP).attach(model) as pruning:
            logits(model, given.inputs)
            deltas = model.model.rope_deltas.flatten().tolist()
    finally:
        hook.remove()
    selection, image = pruning.receipt.selection, 0
    for row, recipe in enumerate(MIXED):
        wanted: list[list[int]] = [[0] * 3]
        for piece in recipe:
            following = max(map(max, wanted)) + 1
            if isinstance(piece, int):
                wanted += [[following + i] * 3 for i in range(piece)]
                continue
            cols = piece[1] // 2
            wanted.append([following] * 3)
            wanted += [
                [following + 1, following + 1 + token // cols, following + 1 + token % cols]
                for token in sorted(selection.picks[image, : KEEP[image]].tolist())
            ]
            wanted.append([following + 1 + max(piece) // 2] * 3)
            image += 1
        got = calls[0]["position_ids"][:, row, -len(wanted) :]
        assert got[-3:].T.tolist() == wanted
        if takes_text_positions(model):
            assert got[0].tolist() == list(range(len(wanted)))
        behind = calls[0]["position_ids"].shape[2] if counts_padding else len(wanted)
        assert deltas[row] == max(map(max, wanted)) + 1 - behind


@pytest.mark.parametrize("name", MODELS)
def test_a_hole_in_the_mask(name: str) -> None:
    """A token that nobody attends to, behind an image: positions skip it, as the model's own do."""
    model, given = shared(name), prompts(*MIXED)
    given.mask[0, -2] = given.mask[2, -2] = 0
    calls, hook = language_calls(model)
    try:
        with pruner(name, KEEP).attach(model) as pruning:
            got = logits(model, given.inputs)
            ids = generate(model, given.inputs, "greedy")
    finally:
        hook.remove()
    reference = masked(model, given, pruning.receipt.selection)
    wanted = logits(model, reference).gather(1, pruning.positions.clamp(min=0)[..., None].expand_as(got))
    torch.testing.assert_close(got[:, -1], wanted[:, -1], atol=2e-4, rtol=0)
    assert torch.equal(ids, generate_masked(model, given, pruning.receipt.selection, "greedy"))
    short = pruning.shorten(given.mask)
    if takes_text_positions(model):
        assert torch.equal(calls[0]["position_ids"][0], (short.cumsum(1) - 1) * short)


@pytest.mark.parametrize("name", MODELS)
def test_decoding_by_hand_goes_on_behind_the_prompt(name: str) -> None:
    """Steps without position ids are numbered by `rope_deltas`, which have to count the tokens that are gone."""
    model, given = shared(name), prompts(*ONE)
    more = {
        **given.inputs,
        "input_ids": torch.cat([given.ids, torch.tensor([[20, 30]])], 1),
        "attention_mask": torch.ones(1, given.length + 2, dtype=torch.int64),
    }
    if takes_token_types(model):
        more["mm_token_type_ids"] = torch.nn.functional.pad(given.inputs["mm_token_type_ids"], (0, 2))
    with pruner(name, 5).attach(model), torch.no_grad():
        wanted = model(**more).logits[:, -2:]
        cache = cache_of(model(**given.inputs, use_cache=True))
        got = [
            model(input_ids=torch.tensor([[token]]), **step(model, cache), use_cache=True).logits for token in (20, 30)
        ]
    torch.testing.assert_close(torch.cat(got, 1), wanted, atol=2e-4, rtol=0)


@pytest.mark.parametrize("keep", [(5, 3, 2), (0, 4, 2), (5, 0, 3), (4, 5, 0), (0, 0, 0)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_ragged_batch_equals_single_runs(name: str, keep: tuple[int, ...]) -> None:
    model, given = shared(name), prompts(*MIXED)
    with pruner(name, keep).attach(model) as pruning:
        together = {mode: generate(model, given.inputs, mode)[:, given.length :] for mode in MODES}
    assert [image.kept for image in pruning.receipt.images] == list(keep)
    assert [image.prompt for image in pruning.receipt.images] == [0, 2, 2]
    for number in range(len(MIXED)):
        alone = given.row(number)
        with pruner(name, keep[given.owned(number)] or (0,)).attach(model):
            for mode in MODES:
                single = generate(model, alone.inputs, mode)[:, alone.length :]
                rows = len(single)
                assert torch.equal(together[mode][number * rows : (number + 1) * rows], single), (number, mode)


@pytest.mark.parametrize("name", MODELS)
def test_signals_and_features_are_what_the_tower_computed(name: str) -> None:
    model, given = shared(name), prompts(*MIXED, [1, (8, 8), 1])
    seen = watch(model, given)
    layers = sorted(seen.received[0])
    needs = [f"vision.{family}_attention[{layer + 1}]" for family in ("received", "mean") for layer in layers]
    needs += [f"vision.{family}[{layer + 1}]" for family in ("hidden", "keys") for layer in range(4)] + ["projected"]
    assert layers == ([1, 3] if name == "qwen2_5_vl" else [0, 1, 2, 3])
    with reading(needs).attach(model) as pruning:
        logits(model, given.inputs)
    tokens = pruning.receipt.selection.tokens
    with torch.no_grad():
        projected = features_of(model, pixel_values=given.pixels, image_grid_thw=given.grids)
    for image, count in enumerate(given.tokens):
        assert tokens.valid[image].sum() == count
        for layer in layers:
            got = tokens.signals[f"vision.received_attention[{layer + 1}]"][image]
            torch.testing.assert_close(got[:, :count].double(), seen.received[image][layer], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(got.sum(1), torch.ones(2))
            assert got[:, count:].abs().sum() == 0
            mean = tokens.signals[f"vision.mean_attention[{layer + 1}]"][image]
            torch.testing.assert_close(mean, got.mean(0))
        for layer in range(4):
            got = tokens.signals[f"vision.hidden[{layer + 1}]"][image, :count]
            torch.testing.assert_close(got.double(), seen.hidden[image][layer], atol=1e-5, rtol=1e-5)
            got = tokens.signals[f"vision.keys[{layer + 1}]"][image, :, :count]
            torch.testing.assert_close(got.double(), seen.keys[image][layer], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tokens.features[image, :count].double(), seen.hidden[image][3], atol=1e-5, rtol=1e-5)
        assert torch.equal(tokens.signals["projected"][image, :count], projected[image])
        cols = int(given.grids[image, 2]) // 2
        assert tokens.row[image, :count].tolist() == [token // cols for token in range(count)]
        assert tokens.col[image, :count].tolist() == [token % cols for token in range(count)]


@pytest.mark.parametrize("at", ["vision", "projected"])
@pytest.mark.parametrize("name", MODELS)
def test_kept_tokens_are_the_published_ones(name: str, at: str) -> None:
    model, given = shared(name), prompts(*MIXED)
    seen = watch(model, given)
    with pruner(name, KEEP, at=at).attach(model) as pruning:
        logits(model, given.inputs)
    with torch.no_grad():
        projected = features_of(model, pixel_values=given.pixels, image_grid_thw=given.grids)
    for image, count in enumerate(KEEP):
        features = seen.hidden[image][3] if at == "vision" else projected[image]
        score = seen.received[image][READ[name]].sum(0)
        picks, _, _ = oracles.scope_picks(oracles.cosine_matrix(features.numpy()), score.numpy(), count)
        assert pruning.receipt.selection.picks[image, :count].tolist() == list(picks)


@pytest.mark.parametrize("name", MODELS)
def test_plan_says_what_happens(name: str) -> None:
    model, given = shared(name), prompts([1, (2, 14), (10, 2)], [(6, 6), 2])
    used = scope.Pruner("divprune", budget={"name": "ratio", "keep_ratio": 0.4})
    sizes = [(int(h) * PATCH, int(w) * PATCH) for _, h, w in given.grids]
    planned = used.plan(sizes, model=model)
    with used.attach(model) as pruning:
        assert pruning.plan(sizes) == planned
        generate(model, given.inputs, "greedy")
    assert planned.layout.images == scope.Layout.of(given.tokens).images
    assert [image.kept for image in pruning.receipt.images] == list(planned.counts)
    for wrong, near in (((30, 28), "28 x 28"), ((0, 35), "14 x 28"), ((333, 500), "336 x 504")):
        with pytest.raises(scope.TokensError, match=rf"image 1 is {wrong[0]} x .* multiples of 14, .*likely {near}\)"):
            used.plan([(28, 28), wrong], model=model)


@pytest.mark.parametrize("name", MODELS)
def test_a_missing_signal_is_refused_before_anything_is_hooked(name: str) -> None:
    model = shared(name)
    before = snapshot(model)
    with pytest.raises(scope.SignalError) as caught:
        scope.Pruner("scope@4").attach(model)
    assert differences(before, snapshot(model)) == []
    message = str(caught.value)
    for part in (
        "'cls_attention'",
        "vision.cls_attention[-2]",
        type(model).__name__,
        "no CLS token",
        "vision.received_attention[",
    ):
        assert part in message
    with pytest.raises(scope.SignalError, match=r"vision\.keys\[-5\]"):
        reading(["vision.keys[-5]"]).attach(model)


@pytest.mark.parametrize("failure", ["none", "body", "tower", "decoder", "plugin", "budget"])
@pytest.mark.parametrize("name", MODELS)
def test_detached_tree_is_as_it_was_found(name: str, failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`rope_deltas` too, which the model writes in every call."""
    model, given = shared(name), prompts(*MIXED)
    generate(model, given.inputs, "greedy")  # the library puts its own hooks in on the first call
    before = snapshot(model)
    error: type[Exception] = {"plugin": ZeroDivisionError, "budget": scope.BudgetError}.get(failure, RuntimeError)
    used = keeping(5, saliency="broken") if failure == "plugin" else pruner(name, 99 if failure == "budget" else 5)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    def use() -> None:
        with used.attach(model):
            assert differences(before, snapshot(model)) != []
            broken = {"tower": model.model.visual.blocks[2], "decoder": model.model.language_model.layers[1]}.get(
                failure
            )
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


@pytest.mark.parametrize("name", MODELS)
def test_no_call_remembers_an_earlier_one(name: str) -> None:
    model, first, second = shared(name), prompts(*MIXED), prompts(*ONE, seed=5)
    text = {key: value for key, value in prompts([7], [4]).inputs.items() if key != "mm_token_type_ids"}
    plain = generate(model, text, "greedy")
    with pruner(name, 4).attach(model) as pruning:
        alone = generate(model, second.inputs, "greedy"), logits(model, second.inputs)
    with pruner(name, 4).attach(model) as pruning:
        generate(model, first.inputs, "beams")
        assert torch.equal(generate(model, text, "greedy"), plain)
        assert torch.equal(generate(model, second.inputs, "greedy"), alone[0])
        logits(model, first.inputs)
        assert torch.equal(logits(model, second.inputs), alone[1])
    assert pruning.receipt.calls == 4
    assert torch.equal(generate(model, text, "greedy"), plain)


@pytest.mark.parametrize("axes", [1, 3, 4])
@pytest.mark.parametrize("name", MODELS)
def test_positions_given_by_the_caller(name: str, axes: int) -> None:
    model, given = shared(name), prompts(*MIXED)
    if axes == 4 and not takes_text_positions(model):
        pytest.skip("language models of this transformers take positions of three axes alone")
    with pruner(name, KEEP).attach(model) as pruning:
        plain = logits(model, given.inputs), generate(model, given.inputs, "greedy")
    full = masked(model, given, pruning.receipt.selection)["position_ids"]
    inputs = {**given.inputs, "position_ids": text_positions(given) if axes == 1 else full[-axes:]}
    wanted = logits(model, inputs)
    with pruner(name, given.tokens).attach(model):
        assert torch.equal(logits(model, inputs), wanted)
        whole = generate(model, inputs, "greedy")
    if counts_on(model):
        assert torch.equal(whole, generate(model, inputs, "greedy"))
    elif axes > 1:
        assert torch.equal(whole, generate(model, given.inputs, "greedy"))
    with pruner(name, KEEP).attach(model):
        few = logits(model, inputs), generate(model, inputs, "greedy")
        with pytest.raises(scope.AttachError, match=r"position_ids has shape \(2, 3, .*or 3 or 4 axes of that"):
            logits(model, {**inputs, "position_ids": full[:2]})
    if axes > 1:
        torch.testing.assert_close(few[0], plain[0])
        assert torch.equal(few[1], plain[1])
        one, bare = prompts(*ONE), {"attention_mask": None, "use_cache": False}
        with pruner(name, 5).attach(model) as pruning:
            alone = logits(model, one.inputs)
            full = masked(model, one, pruning.receipt.selection)["position_ids"][-axes:]
            given_axes = {**one.inputs, "position_ids": full, **bare}
            few = logits(model, given_axes)
        # up to 5.17, Qwen3-VL takes the first of three axes for text positions, in which images are gaps
        usable = torch.allclose(logits(model, given_axes), logits(model, one.inputs), atol=1e-4)
        assert usable or ((name, axes) == ("qwen3_vl", 3) and not takes_token_types(model))
        if usable:
            torch.testing.assert_close(few, alone)
    else:
        real = pruning.positions >= 0
        assert (few[0] - plain[0])[real].abs().max() > 0.1


@told_token_types
@pytest.mark.parametrize("name", MODELS)
def test_without_token_types_the_model_decides(name: str) -> None:
    """`generate` numbers everything as text, and so does `forward` of Qwen2.5; that of the others refuses."""
    model, given = shared(name), prompts(*MIXED)
    inputs = {key: value for key, value in given.inputs.items() if key != "mm_token_type_ids"}
    if not takes_encoder_outputs(model):  # the model would see embeddings alone, and have nothing to decide by
        with pruner(name, given.tokens).attach(model):
            for call in (logits, lambda *args: generate(*args, "greedy")):
                with pytest.raises(scope.AttachError, match="mm_token_type_ids is missing"):
                    call(model, inputs)
        return
    wanted = generate(model, inputs, "greedy")
    scores = logits(model, inputs) if name == "qwen2_5_vl" else None
    assert not torch.equal(wanted, generate(model, given.inputs, "greedy"))
    with pruner(name, given.tokens).attach(model):
        assert torch.equal(generate(model, inputs, "greedy"), wanted)
        if scores is None:
            with pytest.raises(ValueError, match=r"Please pass `mm_token_type_ids`"):
                logits(model, inputs)
        else:
            assert torch.equal(logits(model, inputs), scores)
    with pruner(name, KEEP).attach(model) as pruning:
        few = generate(model, inputs, "greedy")
        assert torch.equal(few, generate(model, inputs, "no cache"))
    assert [image.kept for image in pruning.receipt.images] == KEEP


@pytest.mark.parametrize("name", MODELS)
def test_calls_that_cannot_be_pruned_are_refused(name: str) -> None:
    model, given = shared(name), prompts(*MIXED)
    video = {**given.inputs, "pixel_values_videos": given.pixels, "video_grid_thw": given.grids}
    only = {key: value for key, value in video.items() if not key.startswith(("pixel_values_image", "image"))}
    only.pop("pixel_values")
    with pruner(name, KEEP).attach(model) as pruning:
        for inputs in (video, only):
            for call in (logits, functools.partial(generate, mode="greedy")):
                with pytest.raises(scope.AttachError, match=r"3 videos were given, but the prompts .* for 0 only"):
                    call(model, inputs)
        with pytest.raises(scope.AttachError, match=r"116 patches, but image_grid_thw was not given"):
            logits(model, {**given.inputs, "image_grid_thw": None})
        with pytest.raises(scope.AttachError, match=r"116 patches, but image_grid_thw .* makes 92 patches"):
            logits(model, {**given.inputs, "image_grid_thw": given.grids[:2]})
        with pytest.raises(
            scope.AttachError, match=r"prompt 0 has 9 image placeholders left for image 1, which has 15 tokens"
        ):
            logits(model, dataclasses.replace(given, grids=given.grids.roll(1, 0)).inputs)
    assert not pruning.receipt


@pytest.mark.parametrize("name", MODELS)
def test_what_moved_in_another_release_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = qwen(name)
    home = sys.modules[type(model).__module__]
    with monkeypatch.context() as patch:
        patch.delattr(home, "apply_rotary_pos_emb_vision")
        with pytest.raises(
            scope.AdapterError,
            match=r"has no apply_rotary_pos_emb_vision\(\), .*functions with similar names: .*rotary",
        ):
            pruner(name, 4).attach(model)
    model.model.visual.layers = model.model.visual._modules.pop("blocks")
    with pytest.raises(scope.AdapterError, match=r"base_model.visual: there is no 'blocks' .* It has: .*layers"):
        pruner(name, 4).attach(model)


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_and_eager_attention(name: str) -> None:
    model, given = qwen(name, dtype=torch.bfloat16, attention="eager"), prompts(*MIXED, dtype=torch.bfloat16)
    wanted = logits(model, given.inputs), generate(model, given.inputs, "greedy")
    with pruner(name, given.tokens).attach(model) as pruning:
        assert torch.equal(logits(model, given.inputs), wanted[0])
        assert torch.equal(generate(model, given.inputs, "greedy"), wanted[1])
    assert pruning.receipt.selection.tokens.features.dtype == torch.float32
    with pruner(name, KEEP, dtype="as_is").attach(model) as pruning:
        assert logits(model, given.inputs).isfinite().all()
        generate(model, given.inputs, "beams")
    assert pruning.receipt.selection.tokens.features.dtype == torch.bfloat16


@pytest.mark.parametrize("name", MODELS)
def test_loss_goes_by_the_tokens_that_remain(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = shared(name), prompts(*MIXED)
    if not hasattr(model.config, "vocab_size"):  # which the loss of 4.52 looks for
        monkeypatch.setattr(model.config, "vocab_size", VOCABULARY, raising=False)
    first = given.mask.cumsum(1) == 1  # what padding predicts is not told by what remains
    skipped = (given.ids == PLACEHOLDER) | (given.ids == END) | (given.mask == 0) | first
    labels = given.ids.masked_fill(skipped, -100)
    with pruner(name, KEEP).attach(model) as pruning:
        got = model(**given.inputs, labels=labels)
        got.loss.backward()
    reference = masked(model, given, pruning.receipt.selection)
    wanted = logits(model, reference)
    scores = wanted[:, :-1].flatten(0, 1)
    loss = torch.nn.functional.cross_entropy(scores, labels[:, 1:].flatten())
    torch.testing.assert_close(got.loss, loss, atol=1e-4, rtol=0)
    assert model.model.visual.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)
