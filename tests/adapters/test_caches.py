"""Every way to hand the cache of a pruned prompt back, on every kind of host: right, or refused by name.

Right is what the pruned model answers to the whole conversation with its images and without a cache; other tests
compare that with embeddings built by hand, and so does one below.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig, StaticCache

import scope_core as scope
from adapters import models, qwen
from adapters.decoders import deep
from adapters.installed import cache_of, cached
from adapters.reference import embeddings
from adapters.test_conformance import CASES
from scope_adapters.compat.caches import CACHE_NAMES, cache_name

NEW, TOKENS = 4, torch.tensor([[20, 21, 22]])
GREEDY = {"max_new_tokens": NEW, "do_sample": False}
EARLY = {"recipe": "uniform_grid", "budget": {"name": "ratio", "keep_ratio": 0.3}, "at": "projected"}
LATE = {**EARLY, "at": "decoder[2]"}
BOTH = {
    **EARLY,
    "budget": {"name": "ratio", "keep_ratio": 0.6},
    "then": [{"at": "decoder[2]", "budget": {"name": "ratio", "keep_ratio": 0.5}}],
}


def _conformance(adapter: str, kind: str = "") -> Callable[[], tuple[Any, Any]]:
    return CASES[adapter][kind or adapter].make


def _deep() -> tuple[Any, Any]:
    return deep(), models.batch(*models.MIXED)


HOSTS: dict[str, tuple[Callable[[], tuple[Any, Any]], dict[str, Any]]] = {
    "llava": (_conformance("llava", "clip"), EARLY),
    "llava, gaps": (_conformance("llava", "clip"), {**EARLY, "positions": "original"}),
    "llava, biased": (_conformance("llava", "clip"), {**EARLY, "merger": "average", "attention_bias": "merged"}),
    "llava_next": (_conformance("llava_next", "vicuna"), EARLY),
    "idefics3": (_conformance("idefics3"), EARLY),
    "internvl": (_conformance("internvl"), EARLY),
    "qwen2_vl": (_conformance("qwen2_vl"), EARLY),
    "qwen3_vl": (_conformance("qwen3_vl"), EARLY),
    "inside": (_deep, {**LATE, "positions": "original"}),
    "inside, compact": (_deep, {**LATE, "positions": "compact"}),
    "before and inside": (_deep, BOTH),
}
MARKS = {"qwen3_vl": qwen.qwen3_vl}
BY_HOST = pytest.mark.parametrize("host", [pytest.param(name, marks=MARKS.get(name, ())) for name in HOSTS])


@dataclass
class Turn:
    """A model with a pruner after the first turn of a conversation.

    Attributes:
        model: The model.
        pruning: Its attachment.
        given: Arguments of the first turn.
        cache: What the first turn left.
        ids: (B, L) the whole conversation, second turn included.
        mask: (B, L) its mask.
        new: (B, n) ids that the cache does not hold.
        right: (B, NEW) the answer to the second turn.
    """

    model: Any
    pruning: Any
    given: dict[str, Any]
    cache: Any
    ids: Tensor
    mask: Tensor
    new: Tensor
    right: Tensor

    @property
    def short(self) -> Tensor:
        """The mask of what pruning left of the conversation."""
        mask = self.given["attention_mask"]
        at = self.cache._scope_prompt.index  # what entered the language model, not what left it
        entered = mask.gather(1, at.clamp(min=0)).masked_fill(at < 0, 0)
        later = self.cache.get_seq_length() + self.new.shape[1] - entered.shape[1]
        return torch.cat([entered, entered.new_ones(len(entered), later)], 1)

    def answer(self, cache: Any = None, /, **call: Any) -> Tensor:
        """The new ids of ``generate``."""
        given = {**cached(self.model, self.cache if cache is None else cache), **call}
        ids = self.model.generate(**given, **GREEDY)
        prompt = call.get("input_ids", call.get("inputs"))
        assert torch.equal(ids[:, : prompt.shape[1]], prompt)
        return ids[:, prompt.shape[1] :]

    def loop(self, masks: Callable[[Tensor], Tensor] | None = None, **first: Any) -> Tensor:
        """The new ids of a greedy loop over ``forward``.

        Args:
            masks: Continues a mask by one position; None for calls without masks.
            first: Arguments of the first call, beside ids and cache.
        """
        cache, step, made = self.cache, self.new, []
        mask = first.pop("attention_mask", None)
        with torch.no_grad():
            for _ in range(NEW):
                more = {} if mask is None else {"attention_mask": mask}
                out = self.model(input_ids=step, use_cache=True, **cached(self.model, cache), **more, **first)
                cache, first = cache_of(out), {}
                step = _suppressed(self.model, out.logits[:, -1]).argmax(-1, keepdim=True)
                made.append(step)
                if mask is not None and masks is not None:
                    mask = masks(mask)
        return torch.cat(made, 1)


def _suppressed(model: Any, logits: Tensor) -> Tensor:
    logits = logits.clone()
    logits[:, model.generation_config.suppress_tokens or []] = -torch.inf
    return logits


def _longer(mask: Tensor) -> Tensor:
    return torch.cat([mask, torch.ones_like(mask[:, :1])], 1)


def _along(inputs: dict[str, Any], ids: Tensor) -> dict[str, Any]:
    """Inputs of a longer prompt with the same images."""
    length = inputs["input_ids"].shape[1]
    grown = {
        name: torch.nn.functional.pad(value, (0, ids.shape[1] - length))
        for name, value in inputs.items()
        if name.endswith("token_type_ids")
    }
    mask = torch.cat([inputs["attention_mask"], inputs["attention_mask"].new_ones(len(ids), ids.shape[1] - length)], 1)
    return {**inputs, **grown, "input_ids": ids, "attention_mask": mask}


_ANSWERS: dict[str, tuple[Tensor, Tensor]] = {}
"""The ids of a conversation and the answer to its second turn, of each host, prompt and spec."""


def _answers(model: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    first = model.generate(**inputs, **GREEDY)
    ids = torch.cat([first, TOKENS.expand(len(first), -1)], 1)
    right = model.generate(**_along(inputs, ids), **GREEDY)[:, ids.shape[1] :]
    wrong = model.generate(**_along(inputs, ids[:, :-3]), **GREEDY)[:, ids.shape[1] - 3 :]
    assert not torch.equal(right, wrong)
    return ids, right


def first_turn(host: str, rows: str, then: Callable[[Turn], None], spec: dict[str, Any] | None = None) -> None:
    make, usual = HOSTS[host]
    model, batch = make()
    inputs = batch.row(0).inputs if rows == "one prompt" else batch.inputs
    with scope.Pruner(spec or usual).attach(model) as pruning:
        if (key := f"{host}, {rows}, {spec or usual}") not in _ANSWERS:
            _ANSWERS[key] = _answers(model, inputs)
        ids, right = _ANSWERS[key]
        first = model.generate(**inputs, **GREEDY, return_dict_in_generate=True)
        assert torch.equal(first.sequences, ids[:, : -len(TOKENS[0])])
        held, mask = len(TOKENS[0]) + 1, _along(inputs, ids)["attention_mask"]
        then(Turn(model, pruning, inputs, cache_of(first), ids, mask, ids[:, -held:], right))


def _positions(turn: Turn, mask: Tensor) -> Tensor:
    return (mask.cumsum(1) - 1)[:, -turn.new.shape[1] :]


WAYS: dict[str, Callable[[Turn], Tensor]] = {
    "all ids": lambda t: t.answer(input_ids=t.ids, attention_mask=t.mask),
    "all ids, no mask": lambda t: t.answer(input_ids=t.ids),
    "all ids, all ones": lambda t: t.answer(input_ids=t.ids, attention_mask=torch.ones_like(t.mask)),
    "all ids, positional": lambda t: t.model.generate(
        t.ids, attention_mask=t.mask, **cached(t.model, t.cache), **GREEDY
    )[:, t.ids.shape[1] :],
    "all ids, a copy": lambda t: t.answer(copy.deepcopy(t.cache), input_ids=t.ids, attention_mask=t.mask),
    "new ids": lambda t: t.answer(input_ids=t.new, attention_mask=t.mask),
    "new ids, all ones": lambda t: t.answer(input_ids=t.new, attention_mask=torch.ones_like(t.mask)),
    "new ids, short mask": lambda t: t.answer(input_ids=t.new, attention_mask=t.short),
    "new ids, short mask, all ones": lambda t: t.answer(input_ids=t.new, attention_mask=torch.ones_like(t.short)),
    "new ids, their mask": lambda t: t.answer(input_ids=t.new, attention_mask=torch.ones_like(t.new)),
    "new ids, no mask": lambda t: t.answer(input_ids=t.new),
    "new ids as inputs": lambda t: t.answer(inputs=t.new, attention_mask=t.mask),
    "new ids in two turns": lambda t: t.answer(input_ids=_after(t), attention_mask=torch.ones_like(t.mask)),
    "forward": lambda t: t.loop(_longer, attention_mask=t.mask),
    "forward, all ones": lambda t: t.loop(_longer, attention_mask=torch.ones_like(t.mask)),
    "forward, short mask": lambda t: t.loop(_longer, attention_mask=t.short),
    "forward, its mask": lambda t: t.loop(lambda mask: mask[:, :1], attention_mask=torch.ones_like(t.new)),
    "forward, no mask": lambda t: t.loop(),
}
"""Ways that are right on every host."""


def _after(turn: Turn) -> Tensor:
    """All but one of the new ids go in first."""
    with torch.no_grad():
        turn.model(input_ids=turn.new[:, :-1], use_cache=True, **cached(turn.model, turn.cache))
    return turn.new[:, -1:]


@BY_HOST
@pytest.mark.parametrize("rows", ["one prompt", "a padded batch"])
@pytest.mark.parametrize("way", WAYS)
def test_right(host: str, rows: str, way: str) -> None:
    def then(turn: Turn) -> None:
        if way == "all ids, a copy" and "inside" in host:
            with pytest.raises(scope.AttachError, match="the cache is a copy"):
                WAYS[way](turn)
            return
        got = WAYS[way](turn)
        assert torch.equal(got, turn.right), (got, turn.right)

    first_turn(host, rows, then)


REFUSED: dict[str, tuple[Callable[[Turn], Any], str]] = {
    "in a config": (
        lambda t: t.model.generate(t.new, _config(t), attention_mask=t.mask),
        r"generation config holds .*, which generate\(\) ignores",
    ),
    "with the images": (lambda t: t.answer(**_along(t.given, t.ids)), "with new images"),
    "with the images, forward": (lambda t: t.loop(**_pixels(t), attention_mask=t.mask), "with new images"),
    "new images": (
        lambda t: t.answer(input_ids=torch.cat([t.ids, t.given["input_ids"]], 1)),
        "hold image placeholders.*without a cache",
    ),
    "other ids": (lambda t: t.answer(input_ids=(t.ids == 20) * 7 + t.ids.roll(1, 1)), "hold image placeholders"),
    "all ids cut": (lambda t: t.answer(input_ids=t.ids[:, :-4], attention_mask=t.mask[:, :-4]), "add new ones"),
    "cut at the cache": (
        lambda t: t.answer(input_ids=t.ids[:, t.cache.get_seq_length() :], attention_mask=t.mask),
        "hold image placeholders|ids are in the cache already",
    ),
    "forward, all ids": (lambda t: t.model(t.ids, **cached(t.model, t.cache)), "takes new ids only"),
    "a longer mask": (
        lambda t: t.answer(input_ids=t.new, attention_mask=_longer(t.mask)),
        "counts .* positions; with 4",
    ),
    "forward, a longer mask": (lambda t: t.loop(attention_mask=_longer(t.mask)), "counts .* positions; with 4"),
    "a mask of four axes": (lambda t: t.loop(attention_mask=t.mask[:, None, None]), "has to be .B, L."),
    "other positions": (lambda t: t.loop(position_ids=_positions(t, t.mask) + 1), "do not continue the cached prompt"),
    "other rows": (lambda t: t.answer(input_ids=TOKENS.expand(5, -1)), "has 5 rows, but the cache holds"),
    "by hand": (
        lambda t: t.model.prepare_inputs_for_generation(t.ids, attention_mask=t.mask, **cached(t.model, t.cache)),
        "prepare_inputs_for_generation.. with the cache of a pruned prompt",
    ),
    "two caches": (
        lambda t: t.answer(input_ids=t.new, **{name: copy.copy(t.cache) for name in CACHE_NAMES}),
        "two names of one argument|calls its cache",
    ),
    "cut to the prompt's middle": (lambda t: _cropped(t), "was cut to 5 positions, inside the prompt"),
}


def _config(turn: Turn) -> Any:
    config = copy.deepcopy(turn.model.generation_config)
    for name, value in {**GREEDY, **cached(turn.model, turn.cache)}.items():
        setattr(config, name, value)
    assert isinstance(config, GenerationConfig)
    return config


def _pixels(turn: Turn) -> dict[str, Any]:
    return {name: value for name, value in turn.given.items() if name not in ("input_ids", "attention_mask")}


def _cropped(turn: Turn) -> Any:
    turn.cache.crop(5 - turn.cache.get_seq_length())
    return turn.answer(input_ids=turn.new)


def _refusals() -> Iterator[tuple[str, str, str]]:
    """Hosts, rows and ways, without those that are right."""
    hosts = ("llava", "llava, gaps", "qwen2_vl", "inside, compact", "before and inside")
    for host, rows, way in itertools.product(hosts, ("one prompt", "a padded batch"), REFUSED):
        beams = way == "other rows" and rows == "one prompt"  # rows of beams share one prompt
        # the first layer's cache has the caller's length
        cut = way == "cut at the cache" and "inside" in host and "before" not in host
        if not (beams or cut):
            yield host, rows, way


@pytest.mark.parametrize(("host", "rows", "way"), list(_refusals()))
def test_refused_by_name(host: str, rows: str, way: str) -> None:
    call, words = REFUSED[way]

    def then(turn: Turn) -> None:
        with pytest.raises(scope.AttachError, match=words):
            call(turn)
        if way != "cut to the prompt's middle":  # nothing was written to the cache
            assert torch.equal(turn.answer(input_ids=turn.new), turn.right)

    first_turn(host, rows, then)


@BY_HOST
def test_the_other_name_of_the_cache(host: str) -> None:
    """Newer releases take older names, older releases refuse newer ones in words."""

    def then(turn: Turn) -> None:
        mine = cache_name(type(turn.model).forward)
        for name in CACHE_NAMES[:2]:
            call = {"input_ids": turn.ids, "attention_mask": turn.mask, name: turn.cache}
            if CACHE_NAMES.index(name) < CACHE_NAMES.index(str(mine)):
                with pytest.raises(scope.AttachError, match=f"calls its cache {mine}"):
                    turn.model.generate(**call, **GREEDY)
            elif name != mine:
                got = turn.model.generate(**call, **GREEDY)[:, turn.ids.shape[1] :]
                assert torch.equal(got, turn.right)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first_turn(host, "one prompt", then)


# numbers given by hand


@pytest.mark.parametrize("host", ["llava", "llava_next", "idefics3", "inside", "inside, compact", "before and inside"])
@pytest.mark.parametrize("rows", ["one prompt", "a padded batch"])
@pytest.mark.parametrize("of", ["whole", "short"])
def test_position_ids(host: str, rows: str, of: str) -> None:
    """Of the whole conversation, or of what pruning left of it, with the mask of either."""

    def then(turn: Turn) -> None:
        numbers = _positions(turn, turn.mask if of == "whole" else turn.short)
        cache = copy.deepcopy(turn.cache) if "inside" not in host else None
        got = turn.loop(_longer, attention_mask=turn.mask, position_ids=numbers)
        assert torch.equal(got, turn.right)
        if cache is not None:
            assert torch.equal(turn.answer(cache, input_ids=turn.new, position_ids=numbers), turn.right)

    first_turn(host, rows, then)


@pytest.mark.parametrize("host", ["llava", "qwen2_vl", "inside, compact"])
@pytest.mark.parametrize("of", ["whole", "short"])
def test_cache_position(host: str, of: str) -> None:
    def then(turn: Turn) -> None:
        start = (turn.ids if of == "whole" else turn.short).shape[1] - turn.new.shape[1]
        step = torch.arange(turn.new.shape[1])
        assert torch.equal(turn.loop(_longer, attention_mask=turn.mask, cache_position=start + step), turn.right)
        with pytest.raises(scope.AttachError, match=r"cache_position .* does not continue the cache"):
            turn.loop(cache_position=step + 1)

    first_turn(host, "one prompt", then)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("positions", ["compact", "original"])
@pytest.mark.parametrize("where", ["projected", "decoder[2]"])
def test_loops_over_forward_alone(where: str, positions: str, side: str) -> None:
    """Both turns by ``forward``, with positions of the whole conversation, or without in the second."""
    model, given = deep(), models.batch(*models.MIXED, side=side)
    spec = {**EARLY, "at": where, "positions": positions}
    ids = torch.cat([given.ids, TOKENS.expand(len(given.ids), -1)], 1)
    mask = torch.cat([given.mask, torch.ones_like(TOKENS).expand(len(given.ids), -1)], 1)
    numbers = (mask.cumsum(1) - 1).clamp(min=0)
    call = {"input_ids": ids, "attention_mask": mask, "pixel_values": given.pixels}
    with torch.no_grad(), scope.Pruner(spec).attach(model):
        wanted = model(**call, position_ids=numbers).logits[:, -3:]
        out = model(**given.inputs, position_ids=numbers[:, : given.length], use_cache=True)
        got = model(
            input_ids=ids[:, -3:], attention_mask=mask, position_ids=numbers[:, -3:], **cached(model, cache_of(out))
        )
        torch.testing.assert_close(got.logits, wanted, atol=2e-4, rtol=0)
        out = model(**given.inputs, position_ids=numbers[:, : given.length], use_cache=True)
        got = model(input_ids=ids[:, -3:], **cached(model, cache_of(out)))
        torch.testing.assert_close(got.logits, wanted, atol=2e-4, rtol=0)


# other caches, other pruners, none


def test_static_caches() -> None:
    def then(turn: Turn) -> None:
        text = turn.model.config.get_text_config()
        batched = {"max_batch_size": 1} if "max_batch_size" in inspect.signature(StaticCache).parameters else {}  # 4.52
        cache = StaticCache(config=text, max_cache_len=64, **batched)
        for call in (
            {"input_ids": turn.ids, "attention_mask": turn.mask},
            {"input_ids": turn.new, "attention_mask": turn.mask},
            {"input_ids": turn.new},
        ):
            cache.reset()
            turn.model.generate(**turn.given, **GREEDY, **cached(turn.model, cache))
            assert torch.equal(turn.answer(cache, **call), turn.right)
        cache.reset()
        text_only = {"input_ids": TOKENS, "attention_mask": torch.ones_like(TOKENS)}
        wanted = turn.model.generate(**text_only, **GREEDY)
        assert torch.equal(turn.model.generate(**text_only, **GREEDY, **cached(turn.model, cache)), wanted)

    first_turn("llava", "one prompt", then)


@pytest.mark.parametrize("rows", ["one prompt", "a padded batch"])
@pytest.mark.parametrize("host", ["llava", "llava, gaps", "qwen2_vl"])
def test_another_pruner_goes_on(host: str, rows: str) -> None:
    """The cache itself tells how its prompt was pruned, by whichever pruner."""

    def then(turn: Turn) -> None:
        turn.pruning.detach()
        with scope.Pruner({**EARLY, "recipe": "random"}).attach(turn.model):
            assert torch.equal(turn.answer(input_ids=turn.ids, attention_mask=turn.mask), turn.right)

    first_turn(host, rows, then)


@pytest.mark.parametrize("host", ["llava", "qwen2_vl", "inside, compact"])
def test_other_prompts_in_between_change_nothing(host: str) -> None:
    """Two conversations in turns: what a model keeps of its latest prompt belongs to the other one."""

    def then(turn: Turn) -> None:
        turn.model.generate(**HOSTS[host][0]()[1].inputs, **GREEDY)
        assert torch.equal(turn.answer(input_ids=turn.ids, attention_mask=turn.mask), turn.right)

    first_turn(host, "one prompt", then)


def test_another_pruner_cannot_go_on_inside() -> None:
    def then(turn: Turn) -> None:
        turn.pruning.detach()
        for spec in (EARLY, LATE):
            with (
                scope.Pruner(spec).attach(turn.model),
                pytest.raises(scope.AttachError, match="pruned inside the language model for another attachment"),
            ):
                turn.answer(input_ids=turn.new, attention_mask=turn.mask)

    first_turn("inside, compact", "one prompt", then)


@pytest.mark.parametrize("host", ["llava", "llava_next", "idefics3"])
@pytest.mark.parametrize("way", ["forward", "generate"])
def test_after_detaching_the_cache_warns_once(host: str, way: str) -> None:
    """Nothing of the model is hooked then; what may still be right is let through."""

    @torch.no_grad()
    def then(turn: Turn) -> None:
        turn.pruning.detach()
        with pytest.warns(UserWarning, match=r"this cache holds a prompt that .* was detached: .* wrong answers"):
            got = turn.loop() if way == "forward" else _shortened(turn)
        assert torch.equal(got, turn.right)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            turn.model(turn.new, **cached(turn.model, turn.cache))
        with pytest.warns(UserWarning, match="was detached"):  # copies have a guard of their own
            turn.model(turn.new, **cached(turn.model, _twin(turn)))

    first_turn(host, "one prompt", then)


def _shortened(turn: Turn) -> Tensor:
    """The whole conversation as pruning left it."""
    short = torch.cat([torch.zeros(1, turn.cache.get_seq_length(), dtype=torch.long), turn.new], 1)
    got = turn.model.generate(short, attention_mask=turn.short, **cached(turn.model, turn.cache), **GREEDY)
    return got[:, short.shape[1] :]


def _twin(turn: Turn) -> Any:
    twin = copy.deepcopy(turn.cache)
    twin.update.warned = False
    return twin


@pytest.mark.parametrize("host", ["llava, gaps", "qwen2_vl", "inside", "inside, compact"])
def test_after_detaching_what_would_be_wrong_is_refused(host: str) -> None:
    def then(turn: Turn) -> None:
        turn.pruning.detach()
        with torch.no_grad(), pytest.raises(scope.AttachError, match="was detached: the prompt was pruned"):
            turn.model(turn.new[:, -1:], **cached(turn.model, turn.cache))

    first_turn(host, "one prompt", then)


def test_attached_again_the_guard_is_gone() -> None:
    def then(turn: Turn) -> None:
        turn.pruning.detach()
        with warnings.catch_warnings(), scope.Pruner(EARLY).attach(turn.model):
            warnings.simplefilter("error", UserWarning)
            assert torch.equal(turn.answer(input_ids=turn.ids, attention_mask=turn.mask), turn.right)

    first_turn("llava", "one prompt", then)


def test_a_cache_of_ones_own_is_not_touched() -> None:
    """A prompt without images: whatever is right without a pruner is right with one."""
    model, text = deep(), torch.tensor([[1, 20, 30, 40]])
    with torch.no_grad():
        wanted = model(torch.cat([text, TOKENS], 1)).logits[:, -3:]
        with scope.Pruner(EARLY).attach(model):
            out = model(text, use_cache=True)
            assert not hasattr(cache_of(out), "_scope_prompt")
            got = model(TOKENS, attention_mask=torch.ones(1, 7, dtype=torch.long), **cached(model, cache_of(out)))
    torch.testing.assert_close(got.logits, wanted)


def test_against_embeddings_built_by_hand() -> None:
    """The second turn of a padded batch, all from embeddings of the kept tokens alone, without a pruner."""

    def then(turn: Turn) -> None:
        picked = turn.pruning.receipt.selection
        kept = [row[row >= 0].tolist() for row in picked.kept]
        turn.pruning.detach()
        images = tuple(int(count) // models.PATCHES for count in (turn.ids == models.PLACEHOLDER).sum(1))
        whole = models.Batch(turn.ids, turn.mask, turn.given["pixel_values"], images)
        wanted = turn.model.generate(**embeddings(turn.model, whole, kept), **GREEDY)
        assert torch.equal(wanted, turn.right)

    first_turn("llava", "a padded batch", then)
