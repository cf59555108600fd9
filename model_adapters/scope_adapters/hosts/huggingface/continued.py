"""Calls that continue from the cache of a pruned prompt, rewritten in terms of what pruning left of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import CACHE_NAMES, cache_of
from scope_adapters.compat.signatures import named
from scope_adapters.compat.transformers import base_of, takes_encoder_outputs
from scope_adapters.hosts.huggingface.base import HuggingFaceModel
from scope_adapters.hosts.huggingface.cached_prompt import CachedPrompt, guard, recall, remember, unguard
from scope_adapters.hosts.huggingface.conversation import Conversation
from scope_adapters.hosts.huggingface.embeddings import EmbeddedPrompt
from scope_adapters.hosts.huggingface.generation import Rewritten, inferred_mask
from scope_adapters.hosts.huggingface.in_decoder import Inside
from scope_adapters.hosts.huggingface.items import Items
from scope_adapters.hosts.huggingface.prompt import FILLS, Shortened
from scope_adapters.hosts.methods import is_within
from scope_core import AttachError
from scope_core.adapters import Session


def check_caches(kwargs: Mapping[str, Any], *configs: Any) -> None:
    """Refuse two caches, and a cache inside a generation config, which transformers would ignore.

    Raises:
        AttachError: names the arguments.
    """
    given = [name for name in CACHE_NAMES if kwargs.get(name) is not None]
    if len({id(kwargs[name]) for name in given}) > 1:
        raise AttachError(f"{' and '.join(given)} are two names of one argument; pass one of them")
    for config in configs:
        held = [name for name in CACHE_NAMES if getattr(config, name, None) is not None]
        if held:
            raise AttachError(
                f"the generation config holds {held[0]}, which generate() ignores; pass {held[0]}=... to it"
            )


class Continuation:
    """The calls of one attached model that continue from caches of pruned prompts."""

    def __init__(self, adapter: HuggingFaceModel[Any], model: Any, attachment: Session, inside: Inside | None) -> None:
        self.model, self.attachment, self.inside = model, attachment, inside
        self.first = adapter.first_position
        self.placeholders = tuple(Items(adapter, model, attachment.declaration.placeholder).pixels.values())
        self.state = adapter.state
        self.embeds = not takes_encoder_outputs(model)
        self.caches: weakref.WeakSet[Any] = weakref.WeakSet()  # those that hold pruned prompts

    def prompt(self, rewritten: Rewritten, kwargs: Mapping[str, Any], *, by_mask: bool) -> CachedPrompt:
        """The pruned prompt of a call, for caches that will hold it."""
        ids, short, mask = rewritten.full_ids, rewritten.short, kwargs.get("attention_mask")
        return CachedPrompt(
            label=self.attachment.pruner.label,
            ids=ids,
            real=torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.to(ids.device) != 0,
            index=short.index.masked_fill(~short.kept, -1),
            after=rewritten.after,
            whole=rewritten.whole,
            by_mask=by_mask,
            inside=self.inside is not None,
            bias=self.attachment.pruner.spec.attention_bias,
            state={name: getattr(base_of(self.model), name) for name in self.state},
        )

    def remember(self, prompt: CachedPrompt, kwargs: Mapping[str, Any], output: Any = ()) -> None:
        """Note that the cache of a call, given or returned, holds ``prompt``."""
        returned = output if isinstance(output, tuple) else [cache_of(output)]
        for cache in (cache_of(kwargs), *returned):
            if hasattr(cache, "get_seq_length"):
                remember(cache, prompt)
                self.caches.add(cache)

    def recall(self, kwargs: Mapping[str, Any]) -> CachedPrompt | None:
        """The pruned prompt in a call's cache; None if there is none.

        Raises:
            AttachError: it was pruned inside the language model by another pruner.
        """
        cache = cache_of(kwargs)
        prompt = None if cache is None else recall(cache)
        if prompt is None:
            return None
        if prompt.inside and (self.inside is None or not self.inside.decoder.remembers(cache)):
            raise AttachError(
                f"this cache holds a prompt that {prompt.label} pruned inside the language model for another "
                f"attachment, or the cache is a copy; continue with the cache object that the pruned call returned, or "
                f"pass the whole conversation without a cache"
            )
        if prompt.bias != "none" and self.attachment.pruner.spec.attention_bias == "none":
            raise AttachError(
                f"this cache holds a prompt that {prompt.label} pruned with an attention bias, which "
                f"{self.attachment.pruner.label} does not add; attach {prompt.label} again, or pass the whole "
                f"conversation without a cache"
            )
        for name, value in prompt.state.items():
            setattr(base_of(self.model), name, value)
        unguard(cache)
        self.caches.add(cache)
        return prompt

    def leave(self) -> None:
        """Make caches of pruned prompts warn once the pruner is detached, since nothing else sees their calls."""
        for cache in self.caches:
            guard(cache)

    def prepare(self, inner: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """``prepare_inputs_for_generation``; refused outside of ``generate`` for caches of pruned prompts."""
        given = {**named(type(self.model).prepare_inputs_for_generation, args), **kwargs}
        cache = cache_of(given)
        if not is_within() and cache is not None and recall(cache) is not None:
            raise AttachError(
                "prepare_inputs_for_generation() with the cache of a pruned prompt: what it cuts and numbers depends "
                "on lengths that pruning changed; call generate(), or forward() with new ids only"
            )
        return inner(*args, **kwargs)

    def forward(self, prompt: CachedPrompt, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of ``forward`` in terms of the shortened prompt."""
        ids, embeds, call = kwargs.get("input_ids"), kwargs.get("inputs_embeds"), dict(kwargs)
        if ids is None:
            if embeds is None:
                return call  # the model's own error says more
            ids = torch.full(embeds.shape[:2], -1, device=embeds.device)
        conversation = Conversation(prompt, cache_of(kwargs), ids)
        new, whole = conversation.new_ids(ids, self.placeholders)
        count = int(ids.shape[1])
        if whole:
            known = count - new.shape[1]
            raise AttachError(
                f"forward() with a cache takes new ids only, and the first {known} of these are in the cache; pass "
                f"input_ids[:, {known}:], or call generate() with all of them"
            )
        mask = conversation.short_mask(kwargs.get("attention_mask"), count)
        if mask is not None:
            call["attention_mask"] = mask
        shift = self.first if prompt.by_mask and not self.embeds else 0
        given = kwargs.get("position_ids")
        numbers = conversation.numbers(given, mask, count, by_mask=False, first=self.first, shift=shift)
        if numbers is not None:
            call["position_ids"] = numbers
        if kwargs.get("cache_position") is not None:
            call["cache_position"] = conversation.cache_position(kwargs["cache_position"], count)
        return call

    def generate(
        self, prompt: CachedPrompt, kwargs: Mapping[str, Any], ids: Tensor, pad: int, config: Any
    ) -> Rewritten:
        """A call of ``generate`` in terms of the shortened prompt, whose ids all releases take whole.

        Args:
            prompt: The prompt in the cache.
            kwargs: The caller's call.
            ids: (R, n) new ids, or (R, L + n) of the whole conversation.
            pad: Id of padding.
            config: The generation config given to the call.
        """
        conversation = Conversation(prompt, cache_of(kwargs), ids)
        new, _ = conversation.new_ids(ids, self.placeholders)
        mask, given, count = kwargs.get("attention_mask"), kwargs.get("position_ids"), int(new.shape[1])
        mask = inferred_mask(ids, kwargs, config, self.model.generation_config) if mask is None else mask
        full_mask = None if mask is None else mask[:, -ids.shape[1] :]
        mask = conversation.short_mask(mask, count)
        numbers = conversation.numbers(
            None if given is None else given[..., -count:],
            mask,
            count,
            by_mask=True,
            first=self.first if self.embeds else 0,  # else `generate` adds it
            shift=0 if prompt.by_mask or self.embeds else -self.first,
        )
        call = {name: value for name, value in kwargs.items() if name not in ("position_ids", "cache_position")}
        if kwargs.get("cache_position") is not None:
            conversation.cache_position(kwargs["cache_position"], count)
        short = call["input_ids"] = conversation.short_ids(new, pad)
        front = short.shape[1] - count
        call["attention_mask"] = torch.ones_like(short) if mask is None else mask
        for name in FILLS:
            if call.get(name) is not None:
                call[name] = torch.nn.functional.pad(call[name][:, -count:], (front, 0), value=FILLS[name])
        embedded = None
        if numbers is not None:
            positions = torch.nn.functional.pad(numbers, (front, 0)).expand(*numbers.shape[:-2], len(new), -1)
            if self.embeds:
                after = positions[..., -1:] + 1
                embedded = EmbeddedPrompt(short.new_full(short.shape, -1), torch.empty(0), positions, after)
            else:
                call["position_ids"] = positions
        left = Shortened(torch.zeros_like(short), torch.ones_like(short, dtype=torch.bool), short < 0)
        return Rewritten(call, ids, left, embedded=embedded, full_mask=full_mask)


def known_ids(prompt: CachedPrompt, cached: int, ids: Tensor, output: Any) -> CachedPrompt:
    """``prompt`` with the ids that ``generate`` added to the conversation, if there is one row for each prompt.

    Args:
        prompt: The prompt before the call.
        cached: Positions in its cache before the call.
        ids: The caller's ids.
        output: The result: these ids and new ones.
    """
    sequences = output if isinstance(output, Tensor) else output.sequences
    known, full = prompt.ids.to(ids.device), cached + int(prompt.real.shape[1] - prompt.index.shape[1])
    if len(sequences) != len(known) or ((new_only := not _begins(ids, known)) and known.shape[1] < full):
        return prompt
    return replace(prompt, ids=torch.cat([known[:, :full], sequences], 1) if new_only else sequences)


def _begins(ids: Tensor, known: Tensor) -> bool:
    return ids.shape[1] >= known.shape[1] and torch.equal(ids[:, : known.shape[1]], known)
