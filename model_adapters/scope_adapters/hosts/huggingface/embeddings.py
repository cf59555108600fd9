"""Kept rows as input embeddings, for models that take no encoded features or assign them wrongly.

Models before transformers 5.18 encode pixels inside their own forward, and 5.18 confuses images in beams. A hook of the
base model replaces ids by embeddings: those of the prompt, with kept rows in place of their placeholders, as the
forward would compute them from ids and pixels. ``generate`` sees only ids and handles lengths, beams and caches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import cache_of, cached_length
from scope_adapters.compat.signatures import named
from scope_adapters.compat.transformers import counts_on, takes_ids_beside_embeddings
from scope_adapters.hosts.huggingface.prompt import Shortened

_entering: ContextVar[EmbeddedPrompt | None] = ContextVar("scope_entering", default=None)


@dataclass(frozen=True)
class EmbeddedPrompt:
    """A batch of shortened prompts, with the rows that replace their placeholders.

    Attributes:
        index: (B, L) int64: the row of ``rows`` at each position, -1 for text and padding.
        rows: (R, D) kept rows of all images, in placeholder order.
        positions: (B, L) or (axes, B, L) position ids; None if the model numbers the prompt itself.
        after: (B, 1) or (axes, B, 1) position of the first token after the prompt; needed with ``positions``.
        layers: Per early layer of the language model, (R, D) features that are added to the rows there (DeepStack).
        state: Attributes of the base model that later decoding steps read, by name.
    """

    index: Tensor
    rows: Tensor
    positions: Tensor | None = None
    after: Tensor | None = None
    layers: tuple[Tensor, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, ids: Tensor, kept: Tensor, placeholder: int, rows: Tensor, **more: Any) -> EmbeddedPrompt:
        """The prompts, with one row at each placeholder, in order.

        Args:
            ids: (B, L) the shortened prompts.
            kept: (B, L) bool: False for added padding.
            placeholder: Id of image placeholders.
            rows: (R, D), one for each placeholder.
            more: Further attributes.
        """
        places = ((ids == placeholder) & kept.to(ids.device)).flatten()
        index = (places.cumsum(0) - 1).masked_fill(~places, -1).view_as(ids)
        return cls(index, rows, **more)


def entered(
    model: Any, call: dict[str, Any], short: Shortened, ids: Tensor, placeholder: int, rows: Tensor, **more: Any
) -> EmbeddedPrompt:
    """The shortened prompts as embeddings; removes position ids from ``call``: generate would not continue them.

    Args:
        model: The model, unwrapped.
        call: The shortened call.
        short: The positions that remain.
        ids: (B, L) the shortened ids, with ``placeholder`` for images and videos alike.
        placeholder: Id of placeholders.
        rows: (R, D) kept rows, in placeholder order.
        more: Further attributes of the prompt.
    """
    positions, mask = call.pop("position_ids", None), call.get("attention_mask")
    real = short.kept if mask is None or mask.dim() != 2 else mask != 0
    after = None
    if positions is not None:
        after = positions[..., -1:] + 1 if counts_on(model) else following(positions, real)
    return EmbeddedPrompt.of(ids, short.kept, placeholder, rows, positions=positions, after=after, **more)


@contextmanager
def entering_as_embeddings(prompt: EmbeddedPrompt | None) -> Iterator[None]:
    """Let passes of the base model inside read ``prompt``."""
    token = _entering.set(prompt)
    try:
        yield
    finally:
        _entering.reset(token)


def install(base: Any, undo: ExitStack) -> None:
    """Hook the base model; the hooks change nothing outside of `entering_as_embeddings`."""
    undo.callback(base.register_forward_pre_hook(_embed, with_kwargs=True).remove)
    language = getattr(base, "language_model", None)
    if language is not None:
        undo.callback(language.register_forward_pre_hook(_add_layers, with_kwargs=True).remove)


def _embed(base: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    prompt = _entering.get()
    if prompt is None:
        return None
    kwargs = {**named(type(base).forward, args), **kwargs}
    ids = kwargs.get("input_ids")
    if ids is None or _is_step(prompt, ids):
        return (), kwargs
    beams, start = ids.shape[0] // prompt.index.shape[0], cached_length(cache_of(kwargs))
    for name, value in prompt.state.items():
        setattr(base, name, _spread(value, beams, 0))
    changed = dict(kwargs)
    index = _spread(prompt.index, beams, 0)[:, start : start + ids.shape[1]].to(ids.device)
    if bool((index >= 0).any()):
        changed["inputs_embeds"] = _embeddings(base, prompt, ids, index)
        if not takes_ids_beside_embeddings(base):
            changed["input_ids"] = None
    if prompt.positions is not None:
        changed["position_ids"] = _numbers(prompt, beams, start, ids.shape[1]).to(ids.device)
    return (), changed


def _is_step(prompt: EmbeddedPrompt, ids: Tensor) -> bool:
    """True for a pass of a single new token that needs no change; from shapes alone, since the pass may be compiled."""
    return ids.shape[1] == 1 < prompt.index.shape[1] and prompt.positions is None and not prompt.state


def _embeddings(base: Any, prompt: EmbeddedPrompt, ids: Tensor, index: Tensor) -> Tensor:
    """(B, L, D) embeddings; placeholders are not looked up, since their id may be beyond the table."""
    index = torch.nn.functional.pad(index, (0, ids.shape[1] - index.shape[1]), value=-1)  # tokens after the prompt
    visual = index >= 0
    embeds: Tensor = base.get_input_embeddings()(ids.masked_fill(visual, 0))
    rows = prompt.rows.to(embeds.device, embeds.dtype)[index[visual].to(prompt.rows.device)]
    return embeds.masked_scatter(visual[..., None].to(embeds.device), rows.to(embeds.device))


def _numbers(prompt: EmbeddedPrompt, beams: int, start: int, length: int) -> Tensor:
    """Position ids of a pass; those of tokens after the prompt continue by 1."""
    given: Any = prompt.positions
    positions: Tensor = _spread(given, beams, given.dim() - 2)
    new = start + length - positions.shape[-1]
    if new > 0 and prompt.after is not None:
        steps = torch.arange(new, device=positions.device)
        after = _spread(prompt.after, beams, prompt.after.dim() - 2)
        positions = torch.cat([positions, after + steps], -1)
    return positions[..., start : start + length]


def following(positions: Tensor, real: Tensor) -> Tensor:
    """(B, 1) or (axes, B, 1): the position of the first token after each prompt.

    Args:
        positions: (B, L) or (axes, B, L); the last three axes (time, row, column) continue from their greatest value.
        real: (B, L) bool: False for padding.
    """
    after = positions.masked_fill(~real.to(positions.device), -1).amax(-1, keepdim=True) + 1
    if after.dim() == 2:
        return after
    return torch.cat([after[:-3], after[-3:].amax(0, keepdim=True).expand_as(after[-3:])])


def _spread(tensor: Tensor, beams: int, axis: int) -> Tensor:
    return tensor if beams == 1 else tensor.repeat_interleave(beams, axis)


def _add_layers(_language: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
    """Pass the DeepStack features of the kept rows."""
    prompt, embeds = _entering.get(), kwargs.get("inputs_embeds")
    if prompt is None or not prompt.layers or embeds is None or embeds.shape[1] == 1:
        return None
    beams, start = embeds.shape[0] // prompt.index.shape[0], cached_length(cache_of(kwargs))
    index = _spread(prompt.index, beams, 0)[:, start : start + embeds.shape[1]].to(embeds.device)
    visual = index >= 0
    if not bool(visual.any()):
        return None
    at = index[visual]
    changed = {**kwargs, "deepstack_visual_embeds": [layer[at.to(layer.device)] for layer in prompt.layers]}
    changed["visual_pos_masks"] = torch.nn.functional.pad(visual, (0, embeds.shape[1] - visual.shape[1]))
    return args, changed
