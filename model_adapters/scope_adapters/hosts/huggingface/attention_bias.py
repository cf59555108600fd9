"""Attention bias in the language model: an additive mask that raises attention towards kept rows.

The language model gives every layer one mask. Hooks before the layers replace it by the same mask with the bias of each
key added. The bias belongs to the keys of the prompt, so it is kept with the cache that holds them: later steps, beams
and continued conversations read it from there.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.caches import cache_of, cached_length
from scope_adapters.compat.decoders import mask_axes, several_axes
from scope_adapters.hosts.huggingface.decoder.offers import decoder_of
from scope_adapters.hosts.huggingface.decoder.steps import mask_of, seen_by
from scope_adapters.hosts.huggingface.image_rows import Encoded, raster
from scope_core import AttachError, Selection
from scope_core.adapters import Schedule, attention_bias

_ATTRIBUTE = "_scope_bias"
_bias: ContextVar[Tensor | None] = ContextVar("scope_bias", default=None)
"""(B, L') bias of the call that runs now."""


def check_bias(model: Any, pruner: Schedule) -> None:
    """Refuse an attention bias that the language model's attention cannot take.

    Raises:
        AttachError: names the attention, and those that can; or the model's positions have several axes.
    """
    by = pruner.spec.attention_bias
    if by == "none":
        return
    decoder = decoder_of(model)
    if mask_axes(decoder) != 4:
        raise AttachError(_NOT_ADDITIVE.format(by, _attention(decoder)))
    if by == "restore" and several_axes(decoder):
        raise AttachError(
            f"`attention_bias: restore` compares positions along the prompt, but those of {type(decoder).__name__} "
            f"have several axes; use `attention_bias: merged`"
        )


@contextmanager
def biased(bias: Tensor | None) -> Iterator[None]:
    """Passes of the language model inside read this (B, L') bias; None for no bias."""
    token = _bias.set(bias)
    try:
        yield
    finally:
        _bias.reset(token)


@dataclass
class _Pass:
    """One pass of the language model: the bias of its keys, the keys before it, and the masks made so far."""

    bias: Tensor
    cached: int
    masks: dict[int, tuple[Any, Tensor]] = field(default_factory=dict)


class Biased:
    """The hooks of one attached pruner that add its bias to the masks of the language model."""

    def __init__(self, model: Any) -> None:
        self.decoder = decoder_of(model)
        self._thread = threading.local()

    def install(self, undo: ExitStack) -> None:
        """Hook the language model and its layers; ``undo`` removes the hooks."""
        undo.callback(self.decoder.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
        undo.callback(self.decoder.register_forward_hook(self._end, always_call=True).remove)
        for layer in self.decoder.layers:
            undo.callback(layer.register_forward_pre_hook(self._before, with_kwargs=True).remove)

    def _begin(self, _module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        self._thread.now = None
        cache, bias = cache_of(kwargs), _bias.get()
        if cached := cached_length(cache):
            bias = getattr(cache, _ATTRIBUTE, bias)
        if bias is None:
            return
        if cache is not None:
            setattr(cache, _ATTRIBUTE, bias)
        if (used := _attention(self.decoder)) not in ("sdpa", "eager"):  # may have changed since attaching
            raise AttachError(_NOT_ADDITIVE.format("...", used))
        self._thread.now = _Pass(bias, cached)

    def _end(self, *_: Any) -> None:
        self._thread.now = None

    def _before(self, _module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        now: _Pass | None = getattr(self._thread, "now", None)
        if now is None:
            return None
        hidden = args[0] if args else kwargs["hidden_states"]
        given = kwargs.get("attention_mask")
        if id(given) not in now.masks:  # layers share masks; the given one is kept, so that its id is not used again
            now.masks[id(given)] = given, _with_bias(given, now, hidden)
        return args, {**kwargs, "attention_mask": now.masks[id(given)][1]}


def _with_bias(mask: Any, now: _Pass, hidden: Tensor) -> Tensor:
    """(R, 1, Q, K) additive mask: the given one, or a causal one, with the bias of every key that is seen."""
    rows, queries = hidden.shape[:2]
    if mask is None:
        valid = torch.ones(rows, now.cached + queries, dtype=torch.bool, device=hidden.device)
        mask = mask_of(valid, queries, None, None)
    if not isinstance(mask, Tensor) or mask.dim() != 4:
        raise AttachError(_NOT_ADDITIVE.format("...", f"masks of shape {getattr(mask, 'shape', type(mask).__name__)}"))
    keys, prompts = int(mask.shape[3]), len(now.bias)
    if rows % prompts:
        raise AttachError(f"{rows} rows reached the language model for {prompts} prompts with an attention bias")
    bias = now.bias.to(hidden.device, hidden.dtype).repeat_interleave(rows // prompts, 0)[:, :keys]
    bias = torch.nn.functional.pad(bias, (0, keys - bias.shape[1]))[:, None, None]
    seen = seen_by(mask)
    hidden_keys = torch.full((), torch.finfo(hidden.dtype).min, dtype=hidden.dtype, device=hidden.device)
    own = bias if mask.dtype == torch.bool else mask.to(hidden.dtype) + bias
    return torch.where(seen, own, hidden_keys)


def prompt_bias(
    pruner: Schedule, model: Any, parts: Sequence[tuple[Encoded, Selection]], flags: Sequence[Tensor], image: Tensor
) -> Tensor | None:
    """(B, L') float64 bias of each position of the shortened prompt; None without an attention bias.

    Args:
        pruner: The pruner.
        model: The model, unwrapped.
        parts: Images and their selections, in placeholder order.
        flags: The feature rows of each image that stay.
        image: (B, L') bool: the positions that hold rows of images.
    """
    by = pruner.spec.attention_bias
    if by == "none":
        return None
    values: list[Tensor] = []
    for encoded, selection in parts:
        places, frequencies = None, None
        if by == "restore":
            frequencies = decoder_of(model).rotary_emb.inv_freq.to(selection.picks.device)
            places = torch.arange(selection.tokens.shape[1], device=selection.picks.device)
            places = places.expand(selection.tokens.shape[:2])
            if encoded.places is not None:
                rows = torch.nn.utils.rnn.pad_sequence(list(encoded.places), batch_first=True)
                places = torch.nn.functional.pad(rows, (0, places.shape[1] - rows.shape[1])).to(places)
        bias = attention_bias(selection, by, places=places, frequencies=frequencies)
        values += [
            _of_rows(encoded, selection, number, flags[len(values) + number], bias[number])
            for number in range(len(selection.counts))
        ]
    flat = torch.cat(values).to(image.device)
    whole = torch.zeros(image.shape, dtype=flat.dtype, device=image.device)
    if int(image.sum()) != len(flat):
        raise AttachError(
            f"an attention bias needs one place in the prompt for each row, but {len(flat)} rows have "
            f"{int(image.sum())}; omit `attention_bias`"
        )
    whole[image] = flat
    return whole


def _of_rows(encoded: Encoded, selection: Selection, image: int, flags: Tensor, bias: Tensor) -> Tensor:
    """(R_i,) bias of one image's rows in the order in which `rows_for` gives them; 0 for separators."""
    count = selection.row_counts[image]
    source = selection.rows[image, :count].to(flags.device)
    bias = bias[:count].to(flags.device)
    places = torch.arange(len(flags)) if encoded.places is None else encoded.places[image]
    place = places.to(flags.device)
    apart = flags.clone()
    apart[place[source[source >= 0]]] = False
    bias = torch.cat([bias, bias.new_zeros(int(apart.sum()))])
    return bias[raster(source, place, apart)] if selection.order == "raster" else bias


def _attention(decoder: Any) -> str:
    return str(getattr(decoder.config, "_attn_implementation", "unknown"))


_NOT_ADDITIVE = (
    "`attention_bias: {}` adds to attention scores by the mask, and the attention of this language model ({}) takes no "
    "additive mask; call model.set_attn_implementation('sdpa'), or 'eager', or omit `attention_bias`"
)
