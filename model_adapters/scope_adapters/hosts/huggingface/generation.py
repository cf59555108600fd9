"""``generate`` on a shortened prompt: limits, streamers, criteria and processors see the caller's full prompt."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.transformers import times_asked
from scope_adapters.hosts.huggingface.decoder.run import Run, entering
from scope_adapters.hosts.huggingface.embeddings import EmbeddedPrompt, entering_as_embeddings
from scope_adapters.hosts.huggingface.prompt import Shortened


@dataclass(frozen=True)
class Rewritten:
    """A call whose prompt was shortened.

    Attributes:
        kwargs: The new arguments.
        full_ids: (B, L) the caller's ids.
        short: The positions that remain.
        run: The call inside the language model; None if nothing is pruned there.
        embedded: Embeddings that the base model reads in place of ids; None if ``kwargs`` hold the kept rows.
        after: (B, 1) or (axes, B, 1) position of the next token; None if the model numbers the prompt by itself.
        whole: (B, 1) the same along the caller's prompt; None if it is unknown.
    """

    kwargs: dict[str, Any]
    full_ids: Tensor
    short: Shortened
    run: Run | None = None
    embedded: EmbeddedPrompt | None = None
    after: Tensor | None = None
    whole: Tensor | None = None

    @contextmanager
    def entering(self) -> Iterator[None]:
        """Let passes of the model inside belong to this call."""
        with entering(self.run), entering_as_embeddings(self.embedded):
            yield

    @property
    def removed(self) -> int:
        """The number of positions by which the prompt got shorter."""
        return int(self.full_ids.shape[1] - self.short.index.shape[1])

    def restored(self, ids: Tensor) -> Tensor:
        """(R, L + new) ids with the caller's prompt in front; R is a multiple of B (beams, returned sequences)."""
        prompt, each = self.full_ids.to(ids.device), ids.shape[0] // self.full_ids.shape[0]
        prompt = prompt if each == 1 else prompt.repeat_interleave(each, 0)
        return torch.cat([prompt, ids[:, self.short.index.shape[1] :]], 1)

    def restored_row(self, ids: Tensor, prompt: int) -> Tensor:
        """(L + new,) ids with one prompt of the batch in front."""
        return torch.cat([self.full_ids[prompt].to(ids.device), ids[self.short.index.shape[1] :]])


def inferred_mask(ids: Tensor, given: Mapping[str, Any], config: Any, default: Any) -> Tensor | None:
    """The mask that ``generate`` would infer from padding if none is given; None if it would not.

    To be called before shorter rows get new padding.
    """
    pad, eos = (setting(name, given, config, default) for name in ("pad_token_id", "eos_token_id"))
    ends = eos if isinstance(eos, list | tuple) else [eos]
    if pad is None or pad in ends or not bool((ids == pad).any()):
        return None
    mask: Tensor = ids != pad
    return mask.long()


def arguments(rewritten: Rewritten, config: Any, model: Any) -> dict[str, Any]:
    """The arguments of ``generate``; lengths, streamer, criteria and processors refer to the caller's full prompt."""
    call, default = dict(rewritten.kwargs), model.generation_config
    config = copy.deepcopy(config)
    for name, new in (("max_length", "max_new_tokens"), ("min_length", "min_new_tokens")):
        limit = setting(name, call, config, default)
        if not limit or setting(new, call, config, default) is not None:  # it wins, and does not count the prompt
            continue
        limit = max(limit - rewritten.removed, 0)
        if call.get(name) is None and getattr(config, name, None) is not None:
            setattr(config, name, limit)
        else:
            call[name] = limit
    if config is not None:
        call["generation_config"] = config
    if call.get("streamer") is not None:
        call["streamer"] = _Streamer(call["streamer"], rewritten)
    for name in ("stopping_criteria", "logits_processor"):
        if call.get(name) is not None:
            call[name] = type(call[name])(_on_full_prompt(call[name], rewritten))
    if call.get("prefix_allowed_tokens_fn") is not None:
        beams, several = (setting(name, call, config, default) or 1 for name in ("num_beams", "num_return_sequences"))
        allowed, per_prompt = call["prefix_allowed_tokens_fn"], times_asked(model, beams, several)
        call["prefix_allowed_tokens_fn"] = lambda row, ids: allowed(row, rewritten.restored_row(ids, row // per_prompt))
    return call


def result(output: Any, rewritten: Rewritten) -> Any:
    """The result of ``generate``, with the caller's prompt in front of the new ids."""
    if isinstance(output, Tensor):
        return rewritten.restored(output)
    output.sequences = rewritten.restored(output.sequences)
    return output


def setting(name: str, given: Mapping[str, Any], config: Any, default: Any) -> Any:
    """An option of ``generate``: from its arguments, else the config given to it, else the model's own."""
    values = (given.get(name), getattr(config, name, None), getattr(default, name, None))
    return next((value for value in values if value is not None), None)


def _on_full_prompt(items: Iterable[Callable[..., Any]], rewritten: Rewritten) -> list[Callable[..., Any]]:
    """A caller's criteria or processors, called with full ids; those of transformers get shifted limits instead."""

    def shown(item: Callable[..., Any]) -> Callable[..., Any]:
        return lambda ids, *args, **kwargs: item(rewritten.restored(ids), *args, **kwargs)

    def shifted(item: Any) -> Any:
        item = copy.copy(item)
        for name in ("max_length", "min_length"):
            if isinstance(getattr(item, name, None), int):
                setattr(item, name, max(getattr(item, name) - rewritten.removed, 0))
        return item

    return [shifted(item) if type(item).__module__.startswith("transformers.") else shown(item) for item in items]


class _Streamer:
    """A streamer that gets the caller's prompt first, then everything unchanged."""

    def __init__(self, streamer: Any, rewritten: Rewritten) -> None:
        self.streamer, self.rewritten, self.started = streamer, rewritten, False

    def put(self, value: Tensor) -> None:
        """Pass on ids: the prompt first, then new ones."""
        self.streamer.put(value if self.started else self.rewritten.restored(value))
        self.started = True

    def end(self) -> None:
        """Pass on the end."""
        self.streamer.end()
