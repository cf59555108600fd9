"""The caller's full prompt inside ``generate``: all that counts, reads or shows the prompt gets the full one.

``generate`` itself runs on a shortened prompt. The steps in which it sets limits and builds processors and criteria
(`scope_adapters.compat.generate.STEPS`) are wrapped on the instance, so that they work with the full prompt.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.generate import STEPS
from scope_adapters.compat.signatures import named
from scope_adapters.hosts.huggingface.decoder.run import entering
from scope_adapters.hosts.huggingface.embeddings import entering_as_embeddings

_shown: ContextVar[FullPrompt | None] = ContextVar("scope_shown", default=None)


@dataclass(frozen=True)
class FullPrompt:
    """A caller's batch of prompts, while ``generate`` runs on shorter ones.

    Attributes:
        ids: (B, L) the caller's ids.
        mask: (B, L) the caller's attention mask; None without padding.
        length: Length of the prompts that ``generate`` runs on.
    """

    ids: Tensor
    mask: Tensor | None
    length: int

    @property
    def removed(self) -> int:
        """The number of positions by which the prompt got shorter."""
        return int(self.ids.shape[1] - self.length)

    def restored(self, ids: Tensor) -> Tensor:
        """(R, L + new) ids with the caller's prompt in front; R is a multiple of B (beams, returned sequences)."""
        prompt, each = self.ids.to(ids.device), ids.shape[0] // self.ids.shape[0]
        prompt = prompt if each == 1 else prompt.repeat_interleave(each, 0)
        return torch.cat([prompt, ids[:, self.length :]], 1)

    def counting(self, config: Any) -> Any:
        """A copy of a generation config whose lengths count the full prompt."""
        return _moved(config, self.removed)

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of one of `STEPS`, for the full prompt."""
        changed = dict(given)
        for name in ("input_ids_length", "input_ids_seq_length"):
            if name in given:
                changed[name] = given[name] + self.removed
        if "encoder_input_ids" in given:
            changed["encoder_input_ids"] = self.ids.to(given["encoder_input_ids"].device)
        if given.get("model_kwargs") is not None:
            config, mask = given["generation_config"], self.mask
            if mask is not None:
                mask = mask.repeat_interleave(max(config.num_beams or 1, config.num_return_sequences or 1), 0)
            changed["model_kwargs"] = {**given["model_kwargs"], "attention_mask": mask}
        return changed

    def shown_to(self, items: Any) -> Any:
        """A list of processors or criteria that gets full ids. Passes of the model inside are not of this prompt."""
        kind: Any = type(items)

        def call(own: Any, input_ids: Tensor, *args: Any, **kwargs: Any) -> Any:
            with showing(None), entering(None), entering_as_embeddings(None):
                return kind.__call__(own, self.restored(input_ids), *args, **kwargs)

        changes: dict[str, Any] = {"__call__": call}
        if hasattr(kind, "max_length"):  # group beams read it, and their ids are the shorter ones
            changes["max_length"] = property(lambda own: _less(kind.max_length.fget(own), self.removed))
        return type(kind.__name__, (kind,), changes)(items)


@contextmanager
def showing(prompt: FullPrompt | None) -> Iterator[None]:
    """Let `STEPS` of ``generate`` inside work with ``prompt``."""
    token = _shown.set(prompt)
    try:
        yield
    finally:
        _shown.reset(token)


def changes(model: Any) -> dict[str, Callable[..., Any]]:
    """For each of `STEPS` that a model has, the function that takes its place; its first argument is the step."""
    calls = (_lengths, _check_lengths, _built, _built)
    return {name: partial(call, model, name) for name, call in zip(STEPS, calls, strict=True) if hasattr(model, name)}


class Streamer:
    """A streamer that gets the caller's prompt first, then everything unchanged."""

    def __init__(self, streamer: Any, prompt: FullPrompt) -> None:
        self.streamer, self.prompt, self.started = streamer, prompt, False

    def put(self, value: Tensor) -> None:
        """Pass on ids: the prompt first, then new ones."""
        self.streamer.put(value if self.started else self.prompt.restored(value))
        self.started = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.streamer, name)


def _lengths(model: Any, name: str, step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The config with the lengths that the full prompt leads to, less what was removed."""
    prompt = _shown.get()
    if prompt is None:
        return step(*args, **kwargs)
    return _moved(step(**prompt.arguments(_given(model, name, args, kwargs))), -prompt.removed)


def _check_lengths(model: Any, name: str, step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The check of lengths, whose messages count the full prompt."""
    prompt = _shown.get()
    if prompt is None:
        return step(*args, **kwargs)
    given = prompt.arguments(_given(model, name, args, kwargs))
    return step(**{**given, "generation_config": prompt.counting(given["generation_config"])})


def _built(model: Any, name: str, step: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """The processors or criteria for the full prompt, which get full ids."""
    prompt = _shown.get()
    if prompt is None:
        return step(*args, **kwargs)
    given = prompt.arguments(_given(model, name, args, kwargs))
    return prompt.shown_to(step(**{**given, "generation_config": prompt.counting(given["generation_config"])}))


def _given(model: Any, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {**named(getattr(type(model), name), args), **kwargs}


def _moved(config: Any, by: int) -> Any:
    config = copy.copy(config)
    for name in ("max_length", "min_length"):
        if getattr(config, name, None):
            setattr(config, name, max(getattr(config, name) + by, 0))
    return config


def _less(limit: int | None, by: int) -> int | None:
    return None if limit is None else limit - by
