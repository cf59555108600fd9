"""Calls of a model that is pruned inside: batches, beams, caches, padding, what is refused, and what is left behind."""

from __future__ import annotations

import copy
import gc
import inspect
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache, cache_utils

import scope_core as scope
from adapters.decoders import (
    COMPACT,
    ENCODER_FIRST,
    GREEDY,
    MERGING,
    MODES,
    ONE_STAGE,
    SCHEDULES,
    TWO_STAGES,
    deep,
    top,
)
from adapters.installed import beams_mended, cache_of, cached, keys_of
from adapters.models import MIXED, ONE, TWO, Batch, batch, llava
from adapters.snapshot import differences, snapshot
from scope_adapters.compat.caches import plain_cache


def generate(model: Any, given: Batch, mode: str, **options: Any) -> Tensor:
    return model.generate(**given.inputs, **MODES[mode], **options)


def logits(model: Any, given: Batch) -> Tensor:
    with torch.no_grad():
        return model(**given.inputs).logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("rows", [ONE, TWO, MIXED], ids=["one", "two", "mixed"])
def test_keeping_everything_changes_nothing(rows: Any, side: str, attention: str) -> None:
    model, given = deep("llama", attention), batch(*rows, side=side)
    spec = {**TWO_STAGES, "budget": 16, "then": [{"at": "decoder[4]"}]}
    with beams_mended(model, given.images):
        wanted = logits(model, given), {mode: generate(model, given, mode) for mode in MODES}
    with scope.Pruner(spec).attach(model) as pruning:
        assert torch.equal(logits(model, given), wanted[0])
        for mode in MODES:
            assert torch.equal(generate(model, given, mode), wanted[1][mode]), mode
    assert pruning.receipt.kept == pruning.receipt.later[0].kept == 16 * sum(given.images)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("decoder", "attention"), [("llama", "sdpa"), ("qwen2", "eager"), ("mistral", "sdpa")])
def test_a_batch_equals_its_prompts_and_a_cache_changes_nothing(name: str, decoder: str, attention: str) -> None:
    """A prompt without an image between two others, one with two; every way to generate."""
    model, given = deep(decoder, attention), batch(*MIXED)
    with scope.Pruner(SCHEDULES[name]).attach(model) as pruning:
        together = {mode: generate(model, given, mode)[:, given.length :] for mode in MODES}
        receipt = pruning.receipt
        for number in range(len(MIXED)):
            alone = given.row(number)
            for mode in MODES:
                single = generate(model, alone, mode)[:, alone.length :]
                rows = len(single)
                assert torch.equal(together[mode][number * rows : (number + 1) * rows], single), (number, mode)
    assert torch.equal(together["no cache"], together["greedy"])
    assert torch.equal(together["beams, no cache"], together["beams"])
    assert [image.prompt for image in receipt.images] == [0, 2, 2]
    plain = generate(model, given, "greedy")[:, given.length :]
    assert (plain != together["greedy"]).any()


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_of_a_padded_batch_are_those_of_its_prompts(name: str, side: str) -> None:
    model, given = deep(), batch(*MIXED, side=side)
    with scope.Pruner(SCHEDULES[name]).attach(model) as pruning:
        got, positions = logits(model, given), pruning.positions
        full = pruning.expand(got, torch.nan)
        for row in range(len(MIXED)):
            alone = given.row(row)
            wanted = logits(model, alone)[0]
            wanted = wanted[pruning.positions[0] >= 0] if alone.pixels is not None else wanted
            real = positions[row] >= 0
            assert given.mask[row, positions[row, real]].all()
            torch.testing.assert_close(got[row, real], wanted, atol=2e-4, rtol=0)
            there = ~full[row, :, 0].isnan()
            assert torch.equal(there.nonzero()[:, 0], positions[row, real])
            assert torch.equal(full[row, there], got[row, real])
    assert got.shape[1] < given.length


def test_every_layer_caches_what_it_was_given() -> None:
    model, given = deep(), batch([3, "image", 4])
    for spec, text, wanted in (
        (ONE_STAGE, 8, [16, 16, 7, 7, 7]),
        (TWO_STAGES, 8, [16, 16, 7, 7, 3]),
        (ENCODER_FIRST, 8, [9, 9, 6, 6, 3]),
        (MERGING, 8, [16, 16, 10, 10, 6]),
    ):
        for beams in (1, 3):
            options = {**GREEDY, "num_beams": beams, "return_dict_in_generate": True}
            with scope.Pruner(spec).attach(model):
                cache = cache_of(model.generate(**given.inputs, **options))
            assert [keys_of(cache, layer).shape[2] - text - 5 for layer in range(len(wanted))] == wanted
            assert cache.get_seq_length() == wanted[0] + text + 5


def test_receipts_per_stage() -> None:
    model, given = deep(), batch(*MIXED)
    with scope.Pruner(ENCODER_FIRST).attach(model) as pruning:
        for calls in (1, 2):
            generate(model, given, "greedy")
            stages = (pruning.receipt, *pruning.receipt.later)
            assert [stage.at for stage in stages] == ["vision", "decoder[2]", "decoder[4]"]
            assert [stage.kept for stage in stages] == [27, 18, 9]
            assert [[image.tokens for image in stage.images] for stage in stages] == [[16] * 3, [9] * 3, [6] * 3]
            assert pruning.receipt.calls == calls
        tokens = pruning.receipt.later[1].selection.tokens
        first = pruning.receipt.selection.kept[:, :9]
    second = first.gather(1, pruning.receipt.later[0].selection.kept)
    assert torch.equal(tokens.row * 4 + tokens.col, second)  # places in the grid come from the encoder
    assert tokens.image[:, 0].tolist() == [0, 1, 2]
    assert str(pruning.receipt).count("decoder[") >= 2


@pytest.mark.parametrize("spec", [TWO_STAGES, COMPACT, MERGING], ids=["original", "compact", "merging"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_going_on_from_the_cache(spec: dict[str, Any], attention: str) -> None:
    """A loop of one's own, by one token or by several, with the caller's mask: what ``generate`` does."""
    model, given = deep("llama", attention), batch(*MIXED)
    with scope.Pruner(spec).attach(model), torch.no_grad():
        wanted = model.generate(**given.inputs, **GREEDY, return_dict_in_generate=True, output_logits=True)
        numbers = (given.mask.cumsum(1) - 1).clamp(min=0)
        out = model(**given.inputs, position_ids=numbers, use_cache=True)
        new = wanted.sequences[:, given.length :]
        steps, start = [out.logits[:, -1]], 0
        for count in (1, 3, 1):
            mask = torch.cat([given.mask, given.mask.new_ones(3, start + count)], 1)
            numbers = mask.cumsum(1)[:, -count:] - 1
            out = model(
                input_ids=new[:, start : start + count],
                attention_mask=mask,
                position_ids=numbers,
                **cached(model, cache_of(out)),
                use_cache=True,
            )
            steps += list(out.logits.unbind(1))
            start += count
    torch.testing.assert_close(torch.stack(steps[:6]), torch.stack(wanted.logits)[:6], atol=2e-4, rtol=0)


def test_texts_of_ones_own_pass_untouched() -> None:
    model, text = deep(), torch.tensor([[1, 20, 30, 40]])
    wanted = model.generate(input_ids=text, **GREEDY)
    given = batch(*TWO)
    with scope.Pruner(TWO_STAGES).attach(model):
        assert torch.equal(model.generate(input_ids=text, **GREEDY), wanted)
        out = model(input_ids=text, use_cache=True)
        pruned = generate(model, given, "greedy")
        step = model(input_ids=torch.tensor([[50]]), **cached(model, cache_of(out)))
        assert keys_of(cache_of(step), 4).shape[2] == 5
        assert torch.equal(generate(model, given, "greedy"), pruned)


def test_loss_from_what_is_left() -> None:
    model, given = deep(), batch([3, "image", 4])
    labels = given.ids.masked_fill(given.ids == 150, -100)
    with scope.Pruner(COMPACT).attach(model) as pruning:
        with pytest.raises(scope.AttachError, match="labels"):
            model(**given.inputs, labels=labels)
        out = model(**given.inputs).logits
        short = pruning.shorten(labels, -100)
        assert short.shape == out.shape[:2]
        loss = torch.nn.functional.cross_entropy(out[0, :-1], short[0, 1:])
        loss.backward()
    assert model.model.language_model.layers[4].mlp.up_proj.weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "static": ({"cache_implementation": "static"}, "cache_implementation='static'"),
    "hybrid": ({"cache_implementation": "hybrid"}, "cache_implementation='hybrid'"),
    "quantized": ({"cache_implementation": "quantized"}, "cache_implementation='quantized'"),
    "offloaded": ({"cache_implementation": "offloaded"}, "cache_implementation='offloaded'"),
    "chunks": ({"prefill_chunk_size": 8}, "prefill_chunk_size"),
    "look-up": ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_before_anything_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = deep(), batch(*ONE)
    options, message = REFUSED[name]
    with scope.Pruner(ONE_STAGE).attach(model) as pruning:
        ran: list[Any] = []
        hook = model.model.vision_tower.register_forward_pre_hook(lambda *_: ran.append(1))
        try:
            with pytest.raises(scope.AttachError, match=message):
                model.generate(**given.inputs, **GREEDY, **options)
            with pytest.raises(scope.AttachError, match=message):
                model.generate(**given.inputs, generation_config=_config(model, options))
        finally:
            hook.remove()
        assert not ran
        assert not pruning.receipt
        generate(model, given, "greedy")


def _config(model: Any, options: dict[str, Any]) -> Any:
    import copy

    config = copy.deepcopy(model.generation_config)
    for key, value in {**GREEDY, **options}.items():
        setattr(config, key, value)
    return config


def test_caches_are_refused_by_name() -> None:
    model, given = deep(), batch(*ONE)
    text = model.config.text_config
    batched = {"max_batch_size": 1} if "max_batch_size" in inspect.signature(StaticCache).parameters else {}  # 4.52
    caches = [(StaticCache(config=text, max_cache_len=64, **batched), "StaticCache")]
    if hasattr(cache_utils, "DynamicSlidingWindowLayer"):
        sliding = DynamicCache()
        sliding.layers = [cache_utils.DynamicSlidingWindowLayer(4) for _ in range(5)]
        caches.append((sliding, "DynamicSlidingWindowLayer"))
    with scope.Pruner(ONE_STAGE).attach(model):
        for cache, name in caches:
            with pytest.raises(scope.AttachError, match=name):
                model.generate(**given.inputs, **GREEDY, **cached(model, cache))
            with pytest.raises(scope.AttachError, match=name):
                model(**given.inputs, **cached(model, cache), use_cache=True)
        mine = plain_cache(text)
        model.generate(**given.inputs, **GREEDY, **cached(model, mine))
        assert keys_of(mine, 4).shape[2] < keys_of(mine, 0).shape[2]


def test_attention_that_is_not_served_is_refused() -> None:
    model, given = llava(), batch(*ONE)
    with (
        scope.Pruner({**top(1), "budget": 5, "at": "decoder[2]"}).attach(model),
        pytest.raises(scope.AttachError, match="4 axes"),
    ):
        model(input_ids=given.ids, pixel_values=given.pixels, attention_mask=torch.ones(1, 1, 1, 1))
    model.config.text_config._attn_implementation = "flex_attention"
    with pytest.raises(scope.AdapterError, match="'flex_attention', whose masks are no tensors; use sdpa, eager"):
        scope.Pruner({**top(1), "budget": 5, "at": "decoder[2]"}).attach(model)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({**top(1), "budget": 5, "at": "decoder[5]"}, scope.AdapterError, "5 decoder layers"),
        ({**top(3), "budget": 5, "at": "decoder[2]"}, scope.SignalError, "layer 3 has not run by then"),
        ({**ONE_STAGE, "then": [{"at": "decoder[2]"}]}, scope.SpecError, "out of order"),
        ({**ONE_STAGE, "budget": 3, "then": [{"at": "decoder[4]", "budget": 5}]}, scope.BudgetError, "has 3 tokens"),
        (
            {**ONE_STAGE, "budget": {"name": "average", "keep": 6, "layers": 5}},
            scope.BudgetError,
            "the smallest average is 7",
        ),
    ],
    ids=["no such layer", "layer too late", "stages out of order", "more than is left", "average too low"],
)
def test_schedules_that_cannot_work(spec: dict[str, Any], error: type[Exception], message: str) -> None:
    """Told when reading, planning or attaching, before the model runs."""
    model = deep()
    with pytest.raises(error, match=message), scope.Pruner(spec).attach(model) as pruning:
        pruning.plan([(28, 28)])


@pytest.mark.parametrize("failure", ["none", "body", "decoder", "plugin"])
def test_detached_tree_is_as_it_was_found(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = deep(), batch(*TWO)
    generate(model, given, "greedy")
    before = snapshot(model)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("on purpose")

    def use() -> None:
        with scope.Pruner(TWO_STAGES).attach(model) as pruning:
            assert differences(before, snapshot(model)) != []
            with monkeypatch.context() as patch:
                if failure == "decoder":
                    patch.setattr(model.model.language_model.layers[3], "forward", fail)
                if failure == "plugin":
                    patch.setattr(pruning.pruner.stages[1], "prune", fail)
                generate(model, given, "greedy")
            if failure == "body":
                fail()

    if failure == "none":
        use()
    else:
        with pytest.raises(RuntimeError):
            use()
    assert differences(before, snapshot(model)) == []


def test_an_error_inside_leaves_an_attached_model_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = deep(), batch(*TWO)
    with scope.Pruner(TWO_STAGES).attach(model):
        wanted = generate(model, given, "beams")

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("on purpose")

        with monkeypatch.context() as patch:
            patch.setattr(model.model.language_model.layers[3], "forward", fail)
            with pytest.raises(RuntimeError):
                generate(model, given, "greedy")
        assert torch.equal(generate(model, given, "beams"), wanted)


def test_nothing_is_kept_alive() -> None:
    """The caches are the callers' own: once they are gone, so is what was remembered about them."""
    model, given = deep(), batch(*TWO)
    with scope.Pruner(TWO_STAGES).attach(model):
        model(**given.inputs, use_cache=True)
        generate(model, given, "greedy")
        gc.collect()
        hooks = model.model.language_model._forward_pre_hooks.values()
        decoder = next(hook.__self__ for hook in hooks if hasattr(hook, "__self__"))
        assert len(decoder._caches) == 0


@pytest.mark.parametrize("merger", ["none", "average", "mean_add"])
def test_images_with_nothing_left(merger: str) -> None:
    model, given = deep(), batch(*MIXED)
    spec = {**TWO_STAGES, "budget": 0, "merger": merger, "then": [{"at": "decoder[4]"}]}
    with scope.Pruner(spec).attach(model) as pruning:
        a, b = generate(model, given, "greedy"), generate(model, given, "no cache")
        assert torch.equal(a, b)
        assert pruning.receipt.kept == 0


def test_the_text_behind_an_image_stays_when_nothing_is_left_of_it() -> None:
    """Images that compete: one may lose all its tokens at a stage, and a later one reads text rows by image."""
    rates = {"coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k", "partition": "prompt"}
    few = {"name": "tokens", "keep": 2, "per": "total"}
    later = {"name": "tokens", "keep": 1, "if_short": "keep_all"}
    spec = {
        **rates,
        "at": "decoder[1]",
        "budget": few,
        "saliency": {"name": "rater_attention", "layer": 1},
        "then": [{"at": "decoder[3]", "budget": later, "saliency": {"layer": 3}}],
    }
    model, given = deep(), batch(*TWO)
    with scope.Pruner(spec).attach(model) as pruning:
        logits(model, given)
        assert 0 in [image.kept for image in pruning.receipt.images]
        assert pruning.receipt.later[0].kept <= 2


def test_copies_of_a_cache_are_refused() -> None:
    """Positions of what follows are remembered for the cache itself, so a copy would be continued wrongly."""
    model, given = deep(), batch(*ONE)
    with scope.Pruner(COMPACT).attach(model), torch.no_grad():
        cache = cache_of(model(**given.inputs, use_cache=True))
        with pytest.raises(scope.AttachError, match="the cache is a copy"):
            model(input_ids=torch.tensor([[7]]), **cached(model, copy.deepcopy(cache)))
