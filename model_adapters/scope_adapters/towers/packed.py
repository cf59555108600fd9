"""Towers that read the patches of all images as one sequence and merge blocks of them into tokens.

Attention stays within an image, or within windows of one. It is computed from the layer's own fused qkv projection,
rotated by the model's own function, over the segments that the layer gets.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.compat.windows import WINDOW_FUNCTION, window_method, window_order
from scope_adapters.towers.probe import layer_index
from scope_core import AdapterError, AttachError
from scope_core.adapters import Offer, resolve
from scope_core.parts import parse_signal

_HIDDEN, _KEYS = "vision.hidden", "vision.keys"
_RECEIVED, _MEAN = "vision.received_attention", "vision.mean_attention"
_ROTATE = "apply_rotary_pos_emb_vision"
_QUERY_BLOCK = 128
"""Number of queries per block of received attention: memory is H x 128 x M instead of H x M x M."""


@dataclass(frozen=True)
class PackedTower:
    """A packed tower whose paths were all found.

    Attributes:
        module: The tower.
        layers: Its layers, in order.
        where: Its dotted path.
        rotate: ``(query, key, cos, sin) -> (query, key)``, the model's own function.
        side: Number of patches on one side of a token's block.
        reorder: Method or function that knows the order of the windows' blocks; empty if blocks stay in raster order.
        full: Layers, counted from 1, that attend to whole images; None for all.
    """

    module: Any
    layers: Any
    where: str
    rotate: Callable[..., tuple[Tensor, Tensor]]
    side: int
    reorder: str = ""
    full: tuple[int, ...] | None = None

    def offers(self) -> tuple[Offer, ...]:
        """Signals that a probe can read from this tower."""
        count = len(self.layers)
        return self.received, replace(self.received, family=_MEAN), Offer(_HIDDEN, count), Offer(_KEYS, count)

    @property
    def received(self) -> Offer:
        """Received attention, of layers that attend to whole images."""
        return Offer(_RECEIVED, len(self.layers), whole=self.full)

    def reasons(self) -> dict[str, str]:
        """Reasons why some signals are not offered, by family."""
        none = f"its {type(self.module).__name__} tower has no CLS token"
        return {"vision.cls_attention": f"{none}; there is {self.received}", "vision.cls": none}


def resolve_packed(model: Any, where: str, *, full: str = "") -> PackedTower:
    """The tower with its layers, fused projection and rotary function, checked before any hook.

    Args:
        model: The model.
        where: Dotted path of the tower below the model.
        full: Attribute of the tower that lists the layers without windows, counted from 0; empty without windows.

    Raises:
        AdapterError: a path or the rotary function is missing.
    """
    name = type(model).__name__
    tower = resolve(model, where, what=name)
    layers = resolve(tower, "blocks", what=f"{name}, {where}")
    attention = resolve(layers[0], "attn", what=f"{name}, {where}.blocks.0")
    for path in ("qkv", "num_heads"):
        resolve(attention, path, what=f"{name}, {where}.blocks.0.attn")
    home = sys.modules[type(attention).__module__]
    if not callable(getattr(home, _ROTATE, None)):
        near = ", ".join(sorted(key for key in vars(home) if "rotary" in key)) or "none"
        raise AdapterError(
            f"{name}: {home.__name__} has no {_ROTATE}(), which rotates queries and keys of its tower; functions with "
            f"similar names: {near}. This release may have renamed it; run `scope doctor`"
        )
    reorder = window_method(tower) if full else ""
    if reorder and reorder != WINDOW_FUNCTION:
        resolve(tower, reorder, what=f"{name}, {where}")
    whole = tuple(layer + 1 for layer in resolve(tower, full, what=f"{name}, {where}")) if full else None
    side = int(resolve(tower, "spatial_merge_size", what=f"{name}, {where}"))
    return PackedTower(tower, layers, where, getattr(home, _ROTATE), side, reorder, whole)


@dataclass
class PackedCapture:
    """The record of one forward pass; signals are computed from it when they are read."""

    tower: PackedTower
    dtype: torch.dtype | None
    seen: dict[tuple[str, int], Any] = field(default_factory=dict)
    order: Tensor | None = None

    def signals(self, needs: frozenset[str], sizes: Sequence[int]) -> dict[str, Callable[[], Tensor]]:
        """Lazy signals by name, for those of ``needs`` that a packed tower has.

        Args:
            needs: Names of signals.
            sizes: Number of tokens of each image; signals are padded to the longest with zeros.
        """
        makers = {_HIDDEN: self.hidden, _RECEIVED: self.received, _MEAN: self.mean, _KEYS: self.keys}
        parsed = {name: parse_signal(name) for name in needs}
        return {
            name: partial(makers[family], layer, sizes)
            for name, (family, layer) in parsed.items()
            if family in makers and layer is not None
        }

    def hidden(self, layer: int, sizes: Sequence[int]) -> Tensor:
        """(B, N, D): mean over each token's block of the patches' hidden states after ``layer``."""
        states = self._cast(self._seen("hidden", layer))
        blocks = self._raster(states.view(-1, self.tower.side**2, states.shape[-1]).mean(1))
        return padded(torch.split(blocks, list(sizes)))

    def keys(self, layer: int, sizes: Sequence[int]) -> Tensor:
        """(B, H, N, C): mean over each token's block of the patches' keys, before the rotary embedding."""
        keys = self._cast(self._heads(layer)[1])
        blocks = self._raster(keys.view(-1, self.tower.side**2, *keys.shape[1:]).mean(1))
        return padded(torch.split(blocks, list(sizes))).transpose(1, 2)

    def received(self, layer: int, sizes: Sequence[int]) -> Tensor:
        """(B, H, N): attention that each token's block receives, mean over its image's or frame's patches as queries.

        ``layer`` means the layer that corresponds; see `Offer.layer_of`.
        """
        return self._attention(layer, sizes, _received)

    def mean(self, layer: int, sizes: Sequence[int]) -> Tensor:
        """(B, N): the same, with the mean over heads taken first, for each query."""
        return self._attention(layer, sizes, _mean)[:, 0]

    def _attention(self, layer: int, sizes: Sequence[int], received: Callable[..., Tensor]) -> Tensor:
        layer = self.tower.received.layer_of(layer) or layer
        segments, rotation = self._seen("call", layer)
        attention, unit = self.tower.layers[self._index(layer)].attn, self.tower.side**2
        query, key, _ = self._heads(layer)
        query, key = (self._cast(x).transpose(0, 1) for x in self.tower.rotate(query, key, *rotation))
        queries, keys = (torch.split(x, segments.diff().tolist(), 1) for x in (query, key))
        scale = getattr(attention, "scaling", key.shape[-1] ** -0.5)  # missing in 4.52, which always divides
        columns = [received(q, k, scale) for q, k in zip(queries, keys, strict=True)]
        patches = torch.cat(columns, 1)
        blocks = self._raster(patches.view(len(patches), -1, unit).sum(2).mT)
        lengths = segments.diff()  # of images, or of the frames of videos
        count = self._raster(lengths.repeat_interleave(lengths)[::unit])
        return padded(torch.split(blocks / count[:, None].to(blocks), list(sizes))).transpose(1, 2)

    def _heads(self, layer: int) -> tuple[Tensor, ...]:
        """Queries, keys and values of the patches, (P, H, C) each."""
        fused = self._seen("qkv", layer)
        split: Tensor = fused.reshape(len(fused), 3, self.tower.layers[self._index(layer)].attn.num_heads, -1)
        return split.unbind(1)

    def _raster(self, blocks: Tensor) -> Tensor:
        """Blocks in the order of the language model."""
        if not self.tower.reorder:
            return blocks
        if self.order is None:
            raise AttachError(
                f"{self.tower.where} ran without calling its {self.tower.reorder}(), so the order of its tokens is "
                f"unknown; run `scope doctor`"
            )
        return blocks[self.order.argsort().to(blocks.device)]

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor if self.dtype is None else tensor.to(self.dtype)

    def _index(self, layer: int) -> int:
        return layer_index(layer, len(self.tower.layers), f"{self.tower.where}.blocks")

    def _seen(self, what: str, layer: int) -> Any:
        index = self._index(layer)
        if (what, index) not in self.seen:
            raise AttachError(
                f"the vision tower ran, but layer {index} did not pass through its {what} as declared; a replaced "
                f"attention module bypasses it; run `scope doctor`"
            )
        return self.seen[(what, index)]


@contextmanager
def probe_packed(tower: PackedTower, needs: frozenset[str], *, dtype: torch.dtype | None) -> Iterator[PackedCapture]:
    """The capture of one forward pass of ``tower``; every hook is removed on exit.

    Args:
        tower: The resolved tower.
        needs: Signals to capture; other families are ignored.
        dtype: dtype in which signals are computed; None for the tower's own.
    """
    capture = PackedCapture(tower, dtype)
    wanted = {(family, layer) for family, layer in map(parse_signal, needs) if layer is not None}

    def keep(what: str, index: int, _module: Any, _args: Any, output: Any) -> None:
        capture.seen[(what, index)] = (output[0] if isinstance(output, tuple) else output).detach()

    def called(index: int, _module: Any, _args: Any, kwargs: Any) -> None:
        if {"cu_seqlens", "position_embeddings"} <= set(kwargs):
            capture.seen[("call", index)] = (kwargs["cu_seqlens"], kwargs["position_embeddings"])

    with ExitStack() as undo:
        if tower.reorder:
            undo.enter_context(window_order(tower.module, tower.reorder, partial(setattr, capture, "order")))
        for family, layer in sorted(wanted):
            number = tower.received.layer_of(layer) if family in (_RECEIVED, _MEAN) else layer
            index = layer_index(layer if number is None else number, len(tower.layers), f"{family}[{layer}]")
            block = tower.layers[index]
            if family == _HIDDEN:
                undo.callback(block.register_forward_hook(partial(keep, "hidden", index)).remove)
            elif family in (_RECEIVED, _MEAN, _KEYS):
                undo.callback(block.attn.qkv.register_forward_hook(partial(keep, "qkv", index)).remove)
            if family in (_RECEIVED, _MEAN):
                undo.callback(block.attn.register_forward_pre_hook(partial(called, index), with_kwargs=True).remove)
        yield capture


def padded(rows: Sequence[Tensor], fill: float = 0) -> Tensor:
    """(B, N, ...) from one (n_i, ...) per image, shorter ones padded with ``fill``."""
    return pad_sequence(list(rows), batch_first=True, padding_value=fill)


def _received(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """(H, M) attention that each key of one segment receives, summed over its queries, from (H, M, C) query and key."""
    total = key.new_zeros(key.shape[:2])
    for block in torch.split(query, _QUERY_BLOCK, dim=1):
        total += (block @ key.mT * scale).softmax(-1).sum(1)
    return total


def _mean(query: Tensor, key: Tensor, scale: float) -> Tensor:
    """(1, M): the same of the mean over heads."""
    total = key.new_zeros(1, key.shape[1])
    for block in torch.split(query, _QUERY_BLOCK, dim=1):
        total += (block @ key.mT * scale).softmax(-1).mean(0).sum(0)
    return total
