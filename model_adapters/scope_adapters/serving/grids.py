"""The candidate tokens of models whose processor resizes each image or video to its own grid: Qwen-VL.

The model's config does not say how the processor resizes. So a size means here the size after resizing, which follows
from ``image_grid_thw`` or ``video_grid_thw``, wherever an item is. A video's frames are tiles.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.packing import Packing
from scope_adapters.adapters.qwen2_5_vl import Qwen25VL, Qwen25VLSpec
from scope_adapters.adapters.qwen2_vl import Qwen2VL, Qwen2VLSpec
from scope_adapters.adapters.qwen3_vl import Qwen3VL, Qwen3VLSpec
from scope_adapters.serving.places import DIGITS, to_digits
from scope_adapters.serving.sizes import IMAGE, VIDEO, Pixels, Size, Video, shape, words
from scope_adapters.serving.tiles import regrouped
from scope_adapters.towers.packed import PackedTower
from scope_core import AdapterError, Layout, Pruner, VisualTokens
from scope_core.parts import ImageLayout

ADAPTERS: dict[str, tuple[Any, Any]] = {
    "qwen2_vl": (Qwen2VL, Qwen2VLSpec),
    "qwen2_5_vl": (Qwen25VL, Qwen25VLSpec),
    "qwen3_vl": (Qwen3VL, Qwen3VLSpec),
}
"""Class and spec of the adapter for each type of model."""

STAMPED = frozenset({"qwen3_vl"})
"""Models whose prompt has the time of each frame before it."""


class GridGeometry:
    """One token for each block of patches; an image is one tile, of its own size, and a video one for each frame.

    Args:
        config: The model's config on Hugging Face.
        adapter: The adapter with its options; by default that of the model.
    """

    newlines = "drop"
    places = DIGITS
    merges = frozenset({"projected"})
    media = (IMAGE, VIDEO)
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
    def canvases(self) -> list[Pixels]:
        """The largest image: of 128 x 128 tokens, which is what the processors of the released checkpoints allow."""
        return [(128 * self.side, 128 * self.side)]

    @property
    def rehearsed(self) -> list[Pixels]:
        """Sizes of images for the rehearsal: a strip, a small and a large image."""
        return [(self.side, 30 * self.side), (8 * self.side, 8 * self.side), (36 * self.side, 28 * self.side)]

    @property
    def videos(self) -> list[Video]:
        """Sizes of videos: a short and a long one."""
        return self._videos((1, 2, 3), (64, 32, 32))

    @property
    def rehearsed_videos(self) -> list[Video]:
        """Sizes of videos for the rehearsal: one frame, a few of another form, many."""
        return self._videos((1, 1, 6), (3, 8, 5), (16, 8, 8))

    def _videos(self, *grids: tuple[int, int, int]) -> list[Video]:
        seconds = 1.0 if self.timed else None
        return [Video(frames, rows * self.side, cols * self.side, seconds) for frames, rows, cols in grids]

    @property
    def timed(self) -> bool:
        """True if the model reads the seconds between frames."""
        return "second_per_grid_ts" in self.adapter.video_inputs

    @property
    def stamped(self) -> bool:
        """True if the prompt has the time of each frame before it."""
        return self.host in STAMPED

    def refusal(self, pruner: Pruner, medium: str) -> str:
        """The reason why this model refuses a medium under a spec; empty if it does not."""
        if medium == VIDEO and self.stamped and pruner.spec.order != "raster":
            return f"order '{pruner.spec.order}' has no place for the times between frames; use `order: raster`"
        return ""

    def size(self, grid: Sequence[int], medium: str = IMAGE, seconds: float | None = None) -> Size:
        """The size of an item by its ``image_grid_thw`` or ``video_grid_thw``.

        Args:
            grid: Frames, rows and columns of patches.
            medium: ``"image"`` or ``"video"``.
            seconds: Its ``second_per_grid_ts``, if it has one.
        """
        frames, rows, cols = grid
        height, width = int(rows) // self.block * self.side, int(cols) // self.block * self.side
        return Video(int(frames), height, width, seconds) if medium == VIDEO else (height, width)

    def seen(self, size: Size) -> Size:
        """The size itself."""
        return size

    def tiles(self, size: Size) -> int:
        """The number of tiles of an item: frames."""
        return shape(size)[0]

    def words(self, size: Size) -> str:
        """The size in words."""
        return words(size)

    def grid(self, size: Size) -> tuple[int, int]:
        """Rows and columns of the tokens of an image, or of a frame."""
        _, height, width = shape(size)
        return height // self.side, width // self.side

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """The layout of items of these sizes; each has a prompt of its own if ``prompts`` is None."""
        rows = prompts or range(len(sizes))
        return Layout(tuple(self._item(size, row) for size, row in zip(sizes, rows, strict=True)))

    def _item(self, size: Size, prompt: int) -> ImageLayout:
        frames, (rows, cols) = self.tiles(size), self.grid(size)
        tiles = (rows * cols,) * frames
        if not isinstance(size, Video):
            return ImageLayout(tiles, prompt)
        times = () if size.seconds is None else tuple(size.seconds * number for number in range(frames))
        return ImageLayout(tiles, prompt, frames=(1,) * frames, times=times)

    def cells(self, features: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """(T, n) rows and columns of the tokens of tiles of items of the same size."""
        ((rows, cols),) = {self.grid(size) for size in sizes}
        token = torch.arange(rows * cols, device=features.device).expand(sum(map(self.tiles, sizes)), -1)
        return token // cols, token % cols

    def tokens(self, tiles: VisualTokens, packings: Sequence[Packing], sizes: Sequence[Size]) -> VisualTokens:
        """The candidates: every token of every item."""
        return regrouped(tiles, packings)

    def columns(self, sizes: Sequence[Size]) -> Tensor:
        """(N, `places`) the digits of frame, row and column of an item's tokens; the items are of the same size."""
        ((frames, (rows, cols)),) = {(self.tiles(size), self.grid(size)) for size in sizes}
        axes = torch.meshgrid(torch.arange(frames), torch.arange(rows), torch.arange(cols), indexing="ij")
        return to_digits(torch.stack([axis.flatten() for axis in axes], -1))

    def times(self, size: Size) -> Tensor:
        """(frames,) int64 position in time of each frame, as vLLM numbers them, from 0."""
        pace = float(getattr(self.config.vision_config, "tokens_per_second", 1.0))
        seconds = size.seconds if isinstance(size, Video) and size.seconds is not None else 1.0
        return (torch.arange(self.tiles(size), dtype=torch.float64) * (seconds * pace)).long()

    def reach(self, size: Size, texts: int = 0) -> int:
        """The number of positions that an item takes in the prompt, with its ``texts`` text tokens."""
        if isinstance(size, Video) and self.stamped:
            return texts + size.frames * max(self.grid(size))
        return max(int(self.times(size)[-1]) + 1, *self.grid(size))

    def _packing(self, size: Size) -> Packing:
        rows, cols = self.grid(size)
        places = torch.arange(self.tiles(size) * rows * cols)
        each = (rows * cols,) * self.tiles(size)
        return Packing(torch.zeros(len(places), dtype=torch.bool), places, places, each, len(places))


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
