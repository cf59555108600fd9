"""The candidate tokens of LLaVA-OneVision: tiles, interpolated to fewer tokens where an image has very many; frames.

A token of an interpolated image, or of a video's frame, merges several patches, after the projector. So what it carries
goes through the model's own packing or pooling, as on Hugging Face.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.llava_onevision import LlavaOnevision, LlavaOnevisionSpec
from scope_adapters.adapters.merged import merged_tokens, over_tokens
from scope_adapters.adapters.packing import Packing, numbered
from scope_adapters.serving.sizes import IMAGE, VIDEO, Pixels, Size, Video
from scope_adapters.serving.tiles import TiledGeometry, bare_model, regrouped
from scope_core import Layout, VisualTokens

_INTERPOLATED = 1.1
"""An image is interpolated if it has more patches than the square of this, times the allowed number of tiles."""
_TRIED = 24
"""Number of sizes that are tried to find the image with the most tokens."""
_LARGEST: dict[tuple[Any, ...], Pixels] = {}
"""The size with the most tokens, by what it depends on: finding it takes about a second."""


class InterpolatedGeometry(TiledGeometry):
    """LLaVA-OneVision; every image in tiles, also of several in one prompt, as vLLM gives them to the processor."""

    host = "llava_onevision"
    merges = frozenset({"projected"})
    media = (IMAGE, VIDEO)

    def default(self) -> Any:
        """The adapter with default options."""
        return LlavaOnevision(LlavaOnevisionSpec())

    @property
    def canvases(self) -> list[Pixels]:
        """Sizes of the canvases, and of an image with more tokens than those, as these may be interpolated."""
        whole = super().canvases
        key = (tuple(whole), tuple(self.tower.grid()), str(self.config.vision_aspect_ratio))
        if key not in _LARGEST:
            _LARGEST[key] = max(self._narrowed(whole), key=lambda size: self.layout([size]).images[0].tokens)
        return list(dict.fromkeys([*whole, _LARGEST[key]]))

    def _narrowed(self, canvases: Sequence[Pixels]) -> list[Pixels]:
        """Sizes of images that fill one side of a canvas, and of the other side as much as is not interpolated."""
        rows, cols = self.tower.grid()
        most = _INTERPOLATED**2 * int(str(self.config.vision_aspect_ratio).removeprefix("anyres_max_")) * rows * cols
        side, found = int(self.config.vision_config.image_size), {}
        for height, width in canvases:
            lines, columns = height // side * rows, width // side * cols
            narrow, low = min(most // lines, columns), min(most // columns, lines)
            found[height, max(int(width * narrow / columns), 1)] = lines * narrow
            found[max(int(height * low / lines), 1), width] = low * columns
        return sorted(found, key=lambda size: -found[size])[:_TRIED]

    @property
    def videos(self) -> list[Video]:
        """Sizes of a short and a long video."""
        return [self.video(frames) for frames in (1, 64)]

    @property
    def rehearsed_videos(self) -> list[Video]:
        """Sizes of videos for the rehearsal."""
        return [self.video(frames) for frames in (1, 3, 8)]

    def video(self, frames: int) -> Video:
        """The size of a video; the processor resizes all frames to one size."""
        side = int(self.config.vision_config.image_size)
        return Video(frames, side, side)

    @functools.cached_property
    def of_frame(self) -> int:
        """The number of tokens of a frame."""
        return int(self.pool(torch.zeros(1, self.patches, 1)).shape[1])

    def pool(self, values: Tensor) -> Tensor:
        """(F, m, C) values of each frame's tokens, from (F, n, C) values of its patches."""
        pooled: Tensor = self.adapter.pool(bare_model(self.config), values)
        return pooled

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """The layout: tile by tile, the overview first, or frame by frame."""
        found = super().layout(sizes, prompts).images
        each = zip(found, sizes, strict=True)
        return Layout(tuple(replace(i, frames=(1,) * len(i.tiles)) if isinstance(s, Video) else i for i, s in each))

    def tiles(self, size: Size) -> int:
        """The number of tiles, with the overview; interpolated ones count, too. A frame is a tile."""
        packing: Packing = self.packing(size)
        return int(packing.patches // self.patches)

    def tokens(self, tiles: VisualTokens, packings: Sequence[Packing], sizes: Sequence[Size]) -> VisualTokens:
        """The candidates; where rows merge patches, everything that tokens carry goes through packing or pooling.

        Videos are never in one batch with images.
        """
        if isinstance(sizes[0], Video):
            return self._frames(tiles, packings)
        if not any(packing.merged for packing in packings):
            return regrouped(tiles, packings)
        counts = [packing.patches // tiles.shape[1] for packing in packings]
        bare, given = bare_model(self.config), {"image_sizes": torch.tensor(list(sizes))}

        def pack(flat: Tensor) -> list[Tensor]:
            packed: list[Tensor] = self.adapter.packed(
                bare, torch.split(flat, counts), given, flat.new_zeros(flat.shape[-1])
            )
            return packed

        return merged_tokens(numbered(tiles, counts), packings, pack)

    def _frames(self, tiles: VisualTokens, packings: Sequence[Packing]) -> VisualTokens:
        def pool(values: Tensor) -> Tensor:
            pooled = self.pool(values.flatten(2) if values.dim() > 2 else values[..., None])
            return pooled.reshape(*pooled.shape[:2], *values.shape[2:])

        side, counts = isqrt(self.of_frame), [len(packing.tiles) for packing in packings]
        token = torch.arange(self.of_frame, device=tiles.device).expand(len(tiles.features), -1)
        signals = tiles.signals.map(functools.partial(over_tokens, pool))
        frames = VisualTokens.of(pool(tiles.features), row=token // side, col=token % side, signals=signals)
        starts = accumulate((packing.places.numel() for packing in packings), initial=0)
        index = [packing.places + start for packing, start in zip(packings, starts, strict=False)]
        return numbered(frames, counts).regroup(pad_sequence(index, True, -1).to(tiles.device))

    def _packing(self, size: Size) -> Packing:
        if not isinstance(size, Video):
            return super()._packing(size)
        count = size.frames * self.of_frame  # and a newline behind them
        newline = torch.arange(count + 1) == count
        tiles = (self.of_frame,) * size.frames
        return Packing(newline, torch.arange(count), torch.full((count,), -1), tiles, size.frames * self.patches)
