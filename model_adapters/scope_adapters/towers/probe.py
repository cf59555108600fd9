"""Probe of a tower: attention, keys and hidden states of the needed layers, by one hook each.

Attention is computed from the outputs of the layer's own q and k projections, so it works with sdpa and flash
attention, and the tower need not return attention maps. Layers above the highest needed one can be skipped.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scope_adapters.compat.features import own_forwards
from scope_adapters.towers.layouts import ResolvedTower
from scope_adapters.towers.memo import beside, passed_on, resume
from scope_core import AttachError, SignalError
from scope_core.adapters import Offer, replace_attribute
from scope_core.parts import parse_signal

_FAMILIES = (
    "vision.cls_attention",
    "vision.received_attention",
    "vision.joint_attention",
    "vision.mean_attention",
    "vision.keys",
    "vision.hidden",
    "vision.cls",
)
_OF_CLS = ("vision.cls_attention", "vision.joint_attention", "vision.cls")
_READS = {"vision.hidden": ("hidden",), "vision.cls": ("hidden",), "vision.keys": ("key",)}
_QUERY_BLOCK = 128
"""Number of queries per block of received attention: memory is H x 128 x M instead of H x M x M."""


def offers(tower: ResolvedTower) -> tuple[Offer, ...]:
    """Signals that a probe can read from this tower."""
    return tuple(Offer(family, len(tower.layers)) for family in _FAMILIES if family not in _OF_CLS or tower.layout.cls)


def reasons(tower: ResolvedTower) -> dict[str, str]:
    """Reasons why some signals are not offered, by family."""
    if tower.layout.cls:
        return {}
    return dict.fromkeys(_OF_CLS, f"its {type(tower.module).__name__} tower has no CLS token")


@dataclass
class Capture:
    """The record of one forward pass; signals are computed from it when they are read."""

    tower: ResolvedTower
    dtype: torch.dtype | None
    seen: dict[tuple[str, int], Tensor] = field(default_factory=dict)

    def signals(self, needs: frozenset[str], tokens: int) -> dict[str, Callable[[], Tensor]]:
        """Lazy signals by name, for those of ``needs`` that a tower has.

        Args:
            needs: Names of signals; other families are ignored.
            tokens: Number of tokens per image in the model: the patches, with or without the prefix.
        """
        lazy: dict[str, Callable[[], Tensor]] = {}
        for name in needs:
            family, layer = parse_signal(name)
            if family in _FAMILIES and layer is not None:
                lazy[name] = self._later(family, layer_index(layer, len(self.tower.layers), name), tokens)
        return lazy

    def _later(self, family: str, index: int, tokens: int) -> Callable[[], Tensor]:
        def compute() -> Tensor:
            if family == "vision.hidden":
                return self._seen("hidden", index)[:, -tokens:]
            if family == "vision.cls":
                return self._seen("hidden", index)[:, :1].expand(-1, tokens, -1)
            key = self._heads("key", index)
            if family == "vision.keys":
                return key[:, :, -tokens:]
            query, scale, mask = self._heads("query", index), self._scale(index), self.seen.get(("mask", index))
            return _ATTENTION[family](query, key, scale, mask)[..., -tokens:]

        return compute

    def hidden(self, layer: int, tokens: int) -> Tensor:
        """(B, N, D) hidden state after ``layer`` (counted as in ``hidden_states``) of the last ``tokens`` tokens."""
        return self._seen("hidden", layer_index(layer, len(self.tower.layers), "hidden"))[:, -tokens:]

    def _seen(self, what: str, index: int) -> Tensor:
        if (what, index) not in self.seen:
            raise AttachError(
                f"the vision tower ran, but layer {index} did not pass through its {what} projection as declared; "
                f"a fused or replaced attention module bypasses it; run `scope doctor`"
            )
        return self.seen[(what, index)]

    def _heads(self, what: str, index: int) -> Tensor:
        """(B, H, M, C) queries or keys, in the dtype of the selection."""
        split = self._seen(what, index)
        if split.dim() == 3:  # 4 axes: normed by head, after the split
            heads = int(self.tower.module.config.num_attention_heads)
            split = split.view(*split.shape[:2], heads, -1).transpose(1, 2)
        return split if self.dtype is None else split.to(self.dtype)

    def _scale(self, index: int) -> float:
        attention = self.tower.layers[index].get_submodule(self.tower.layout.attention)
        width = self._heads("key", index).shape[-1]
        return float(getattr(attention, "scale", getattr(attention, "scaling", width**-0.5)))


@contextmanager
def probe(
    tower: ResolvedTower,
    needs: frozenset[str],
    *,
    dtype: torch.dtype | None,
    last: int | None = None,
    first: int | None = None,
) -> Iterator[Capture]:
    """The capture of one forward pass of ``tower``; every hook is removed on exit.

    Args:
        tower: The resolved tower.
        needs: Signals to capture; other families are ignored.
        dtype: dtype in which attention is computed; None for the tower's own.
        last: The highest layer whose output is read (counted as in ``hidden_states``). Layers above it and above those
            in ``needs`` are skipped; None runs all.
        first: The lowest layer whose output is read. Its input, or that of a lower layer in ``needs``, may come from a
            memo (see `scope_adapters.towers.memo`); None runs all layers.
    """
    count = len(tower.layers)
    capture = Capture(tower, dtype)
    wanted = _wanted(needs, count)
    with ExitStack() as undo:
        undo.enter_context(own_forwards(tower.module))
        for part, index in wanted:
            undo.callback(_watch(capture, part, index).remove)
        if last is not None:
            top = max([layer_index(last, count, "hidden"), *(index for _, index in wanted)])
            if top + 1 < count:
                skip = _Skip()
                undo.callback(tower.layers[top].register_forward_hook(skip.learn).remove)
                for index in range(top + 1, count):
                    replace_attribute(tower.layers[index], "forward", skip, undo)
        if first is not None:
            resume(tower.layers, min([layer_index(first, count, "hidden"), *(index for _, index in wanted)]), undo)
        yield capture


@functools.lru_cache(maxsize=64)
def _wanted(needs: frozenset[str], count: int) -> tuple[tuple[str, int], ...]:
    """``(output to record, index of the layer)`` for those of ``needs`` that a tower of ``count`` layers has."""
    wanted: set[tuple[str, int]] = set()
    for name in needs:
        family, layer = parse_signal(name)
        if family in _FAMILIES and layer is not None:
            index = layer_index(layer, count, name)
            wanted |= {(part, index) for part in _READS.get(family, ("query", "key", "mask"))}
    return tuple(sorted(wanted))


def layer_index(layer: int, count: int, name: str) -> int:
    """The index of the layer whose output is ``hidden_states[layer]``.

    Raises:
        SignalError: there is no such layer; 0 is the embeddings, which are not a layer's output.
    """
    index = count + layer if layer < 0 else layer - 1
    if layer == 0 or not 0 <= index < count:
        raise SignalError(f"'{name}': this tower has {count} layers; layer may be -{count}..-1 or 1..{count}")
    return index


def _watch(capture: Capture, part: str, index: int) -> Any:
    layer, layout = capture.tower.layers[index], capture.tower.layout
    if part == "mask":
        return layer.get_submodule(layout.attention).register_forward_pre_hook(
            lambda _module, _args, kwargs: _keep_mask(capture, index, kwargs.get("attention_mask")), with_kwargs=True
        )
    if part == "hidden":
        module = layer
    else:
        module = layer.get_submodule(layout.attention).get_submodule(layout.query if part == "query" else layout.key)

    def keep(_module: Any, _args: Any, output: Any) -> None:
        capture.seen[(part, index)] = (output[0] if isinstance(output, tuple) else output).detach()

    return module.register_forward_hook(keep)


class _Skip:
    """A skipped layer: hidden states pass unchanged, in the form of the other layers' outputs.

    It is still called, since models count layer calls to find hidden states.
    """

    def __init__(self) -> None:
        self.beside: int | None = None

    def learn(self, _module: Any, _args: Any, output: Any) -> None:
        """Hook of the last layer that runs: record the form of its output."""
        self.beside = beside(output)

    def __call__(self, hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Any:
        return passed_on(hidden_states, self.beside)


def _keep_mask(capture: Capture, index: int, mask: Any) -> None:
    """Record the mask of padded patches, if the tower has one."""
    if mask is None:
        return
    if not isinstance(mask, torch.Tensor):
        raise AttachError(
            f"the vision tower masks its attention with a {type(mask).__name__}, which cannot be read; load the model "
            f"with attn_implementation='sdpa'"
        )
    mask = mask.detach() if mask.dim() == 4 else mask[:, None, None].bool()
    capture.seen[("mask", index)] = mask if mask.dtype == torch.bool else mask >= 0  # an additive mask


def _cls_row(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(B, H, M) attention from the first query to all keys."""
    return _attention(query[:, :, :1], key, scale, None if mask is None else mask[:, :, :1])[:, :, 0]


def _received(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(B, H, M) attention that each key receives, mean over all queries, prefix included."""
    total = key.new_zeros(key.shape[:3])
    for start in range(0, query.shape[2], _QUERY_BLOCK):
        rows = slice(start, start + _QUERY_BLOCK)
        masked = mask if mask is None or mask.shape[2] == 1 else mask[:, :, rows]
        total += _attention(query[:, :, rows], key, scale, masked).sum(2)
    return total / query.shape[2]


def _joint(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(B, M) attention from the first query to all keys, with the queries and keys of all heads as those of one."""
    query, key = (heads.transpose(1, 2).flatten(2)[:, None] for heads in (query, key))
    return _cls_row(query, key, query.shape[-1] ** -0.5, mask)[:, 0]


def _mean(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(B, M) attention that each key receives: the mean over heads of each query's row, then over all queries."""
    rows = []
    for start in range(0, query.shape[2], _QUERY_BLOCK):
        block = slice(start, start + _QUERY_BLOCK)
        masked = mask if mask is None or mask.shape[2] == 1 else mask[:, :, block]
        rows.append(_attention(query[:, :, block], key, scale, masked).mean(1))
    return torch.cat(rows, 1).mean(1)


_ATTENTION = {
    "vision.cls_attention": _cls_row,
    "vision.received_attention": _received,
    "vision.joint_attention": _joint,
    "vision.mean_attention": _mean,
}


def _attention(query: Tensor, key: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """(B, H, Q, M) attention of a block of queries to the keys where ``mask`` is True."""
    scores = query @ key.transpose(-1, -2) * scale
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return scores.softmax(-1)
