"""The candidate tokens of models whose processor resizes each image to its own grid: Qwen-VL.

The model's config does not say how the processor resizes. So a size means here the size after resizing, which follows
from ``image_grid_thw``, wherever an image is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.anyres import Packing, numbered
from scope_adapters.adapters.qwen2_5_vl import Qwen25VL, Qwen25VLSpec
from scope_adapters.adapters.qwen2_vl import Qwen2VL, Qwen2VLSpec
from scope_adapters.adapters.qwen3_vl import Qwen3VL, Qwen3VLSpec
from scope_adapters.towers.packed import PackedTower
from scope_core import AdapterError, Layout, VisualTokens

Size = tuple[int, int]
"""(height, width) of an image in pixels."""

ADAPTERS: dict[str, tuple[Any, Any]] = {
    "qwen2_vl": (Qwen2VL, Qwen2VLSpec),
    "qwen2_5_vl": (Qwen25VL, Qwen25VLSpec),
    "qwen3_vl": (Qwen3VL, Qwen3VLSpec),
}
"""Class and spec of the adapter for each type of model."""

BASE = 128
"""Base of the two digits of a row or column: bfloat16 holds whole numbers up to 256 only."""
DIGITS = 4
"""Columns beside each row for its place: two digits of the row, two of the column."""


class GridGeometry:
    """One token for each block of patches; an image is one tile, of its own size.

    Args:
        config: The model's config on Hugging Face.
        adapter: The adapter with its options; by default that of the model.
    """

    newlines = "drop"
    places = DIGITS
    merges = frozenset({"projected"})
    tower = None
    """No tower of LLaVA's kind; see `packed`."""

    def __init__(self, config: Any, adapter: Any = None) -> None:
        self.config, self.host = config, str(config.model_type)
        kind, spec = ADAPTERS[self.host]
        self.adapter = adapter or kind(spec())
        vision = config.vision_config
        self.block = int(vision.spatial_merge_size)
        self.side = self.block * int(vision.patch_size)
        """Pixels of a token's side."""
        self.heads = int(vision.num_heads)
        self.width = int(getattr(vision, "embed_dim", vision.hidden_size))
        self.given = self.width
        self.packed = packed_tower(vision)
        self.packing = functools.lru_cache(256)(self._packing)

    @property
    def canvases(self) -> list[Size]:
        """The largest image: of 128 x 128 tokens, which is what the processors of the released checkpoints allow."""
        return [(128 * self.side, 128 * self.side)]

    @property
    def rehearsed(self) -> list[Size]:
        """Sizes for the rehearsal: a strip, a small and a large image."""
        return [(self.side, 30 * self.side), (8 * self.side, 8 * self.side), (36 * self.side, 28 * self.side)]

    def size(self, grid: Sequence[int]) -> Size:
        """The size of an image by its ``image_grid_thw``."""
        _, rows, cols = grid
        return int(rows) // self.block * self.side, int(cols) // self.block * self.side

    def seen(self, size: Size) -> Size:
        """The size itself."""
        return size

    def tiles(self, size: Size) -> int:
        """The number of tiles of an image."""
        return 1

    def words(self, size: Size) -> str:
        """The size of an image in words."""
        return f"{size[1]} x {size[0]} pixels"

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """The layout of images of these sizes; each has a prompt of its own if ``prompts`` is None."""
        return Layout.of([len(self.packing(size).places) for size in sizes], prompts=prompts or range(len(sizes)))

    def cells(self, features: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """(B, n) rows and columns of the tokens of images of the same size."""
        ((height, width),) = set(sizes)
        token = torch.arange(height // self.side * (width // self.side), device=features.device)
        token = token.expand(len(sizes), -1)
        return token // (width // self.side), token % (width // self.side)

    def tokens(self, tiles: VisualTokens, packings: Sequence[Packing], sizes: Sequence[Size]) -> VisualTokens:
        """The candidates: every token of every image."""
        return numbered(tiles, [1] * len(sizes))

    def columns(self, sizes: Sequence[Size]) -> Tensor:
        """(N, `places`) the digits of the places of an image's tokens; the images are of the same size."""
        places = torch.stack(self.cells(torch.empty(0), sizes), -1)[0]
        return torch.cat([places // BASE, places % BASE], -1)

    def _packing(self, size: Size) -> Packing:
        count = size[0] // self.side * (size[1] // self.side)
        places = torch.arange(count)
        return Packing(torch.zeros(count, dtype=torch.bool), places, places, (count,), count)


def packed_tower(vision: Any) -> PackedTower:
    """A tower without weights: its number of layers, and those that attend to whole images.

    Raises:
        AdapterError: none of them does.
    """
    full = getattr(vision, "fullatt_block_indexes", None)
    if full is not None and not full:
        raise AdapterError("vision_config.fullatt_block_indexes is empty, so no layer of the tower sees a whole image")
    named = type(f"{vision.model_type} vision", (), {})()  # only its name is read, for messages
    whole = None if full is None else tuple(int(layer) + 1 for layer in full)
    return PackedTower(named, range(int(vision.depth)), "visual", _unused, int(vision.spatial_merge_size), full=whole)


def _unused(*_: Any) -> Any:
    raise NotImplementedError
