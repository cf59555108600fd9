"""The candidate tokens of LLaVA-OneVision: tiles, interpolated to fewer tokens where an image has very many.

A token of an interpolated image merges several patches, after the projector. So what it carries goes through the
model's own packing, as on Hugging Face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.anyres import Packing, numbered
from scope_adapters.adapters.llava_onevision import LlavaOnevision, LlavaOnevisionSpec
from scope_adapters.adapters.merged import merged_tokens
from scope_adapters.serving.grids import Size
from scope_adapters.serving.tiles import TiledGeometry, bare_model, regrouped
from scope_core import VisualTokens

_INTERPOLATED = 1.1
"""An image is interpolated if it has more patches than the square of this, times the allowed number of tiles."""
_TRIED = 24
"""Number of sizes that are tried to find the image with the most tokens."""
_LARGEST: dict[tuple[Any, ...], Size] = {}
"""The size with the most tokens, by what it depends on: finding it takes about a second."""


class InterpolatedGeometry(TiledGeometry):
    """LLaVA-OneVision; every image in tiles, also of several in one prompt, as vLLM gives them to the processor."""

    host = "llava_onevision"
    merges = frozenset({"projected"})

    def default(self) -> Any:
        """The adapter with default options."""
        return LlavaOnevision(LlavaOnevisionSpec())

    @property
    def canvases(self) -> list[Size]:
        """Sizes of the canvases, and of an image with more tokens than those, as these may be interpolated."""
        whole = super().canvases
        key = (tuple(whole), tuple(self.tower.grid()), str(self.config.vision_aspect_ratio))
        if key not in _LARGEST:
            _LARGEST[key] = max(self._narrowed(whole), key=lambda size: self.layout([size]).images[0].tokens)
        return list(dict.fromkeys([*whole, _LARGEST[key]]))

    def _narrowed(self, canvases: Sequence[Size]) -> list[Size]:
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

    def tiles(self, size: Size) -> int:
        """The number of tiles, with the overview; interpolated ones count, too."""
        packing: Packing = self.packing(size)
        return int(packing.patches // self.patches)

    def tokens(self, tiles: VisualTokens, packings: Sequence[Packing], sizes: Sequence[Size]) -> VisualTokens:
        """The candidates; where rows merge patches, everything that tokens carry goes through the packing."""
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
