"""The candidate tokens of models with tiles whose patches are merged by a pixel shuffle: InternVL.

The model's config does not say into how many tiles the processor cuts an image. So a size means here that of the tiles
side by side, which follows from ``image_num_patches``, wherever an image is.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from scope_adapters.adapters.internvl import InternVL, InternVLSpec
from scope_adapters.adapters.packing import Packing
from scope_adapters.adapters.shuffled import Patches
from scope_adapters.serving.sizes import Pixels, Size
from scope_adapters.serving.tiles import Geometry, bare_model
from scope_adapters.serving.tower import INTERNVL
from scope_adapters.towers.layouts import LAYOUTS, ResolvedTower
from scope_core import AdapterError, Layout

MOST = "visual_pruner_tiles"
"""The key of the largest number of tiles of an image, in the model's config; set where the processor is known."""


class ShuffledGeometry(Geometry):
    """InternVL: one token for each block of patches; tiles row by row, the overview last.

    Args:
        config: The model's config on Hugging Face.
        adapter: The adapter with its options; by default that of the model.

    Raises:
        AdapterError: the projector reads what vLLM does not give it.
    """

    host = "internvl"
    merges = frozenset({"projected"})
    paths = INTERNVL
    placeholder = "image_token_id"

    def __init__(self, config: Any, adapter: Any = None) -> None:
        layer, strategy = config.vision_feature_layer, config.vision_feature_select_strategy
        if (layer, strategy) != (-1, "default"):
            raise AdapterError(
                f"vision_feature_layer is {layer!r} and vision_feature_select_strategy {strategy!r}, but vLLM reads "
                f"the last layer (-1) of InternVL's tower without its CLS token ('default')"
            )
        self.config = config
        self.adapter = adapter or self.default()
        vision = config.vision_config
        layers = range(int(vision.num_hidden_layers))
        self.tower = ResolvedTower(SimpleNamespace(config=vision), LAYOUTS["internvl_vision"], layers, {})
        rows, cols = self.tower.grid()
        self.read = rows * cols
        self.patches = len(self.merged.index)
        self.heads = int(vision.num_attention_heads)
        self.width = int(vision.hidden_size)
        self.given = self.width * self.read // self.patches
        height, width = vision.image_size
        self.tile: Pixels = (int(height), int(width))
        """Size of a tile."""
        self.packing = functools.lru_cache(256)(self._packing)

    def default(self) -> Any:
        """The adapter with default options."""
        return InternVL(InternVLSpec.model_validate({}))

    @functools.cached_property
    def merged(self) -> Patches:
        """The patches of each token, learnt from Hugging Face's pixel shuffle."""
        found: Patches = self.adapter.patches(bare_model(self.config), self.tower.grid())
        return found

    @property
    def canvases(self) -> list[Pixels]:
        """An image of one tile, and one of the most; without a processor, by the adapter's ``max_tiles``."""
        cut = int(self.adapter.spec.max_tiles)
        most = int(getattr(self.config, MOST, cut + (cut > 1)))  # with the overview
        return [self.size(tiles) for tiles in sorted({1, most})]

    def size(self, tiles: int) -> Pixels:
        """The size that stands for an image of ``tiles`` tiles."""
        return self.tile[0], int(tiles) * self.tile[1]

    def seen(self, size: Size) -> Size:
        """A size with the same number of tiles."""
        return self.size(self.tiles(size))

    def tiles(self, size: Size) -> int:
        """The number of tiles, with the overview."""
        return max(size[1] // self.tile[1], 1)

    def words(self, size: Size) -> str:
        """The size of an image in words."""
        count = self.tiles(size)
        return f"{count} tile{'s' * (count > 1)} of {self.tile[1]} x {self.tile[0]} pixels"

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """The layout, tile by tile, the overview last."""
        return Layout.of([self.packing(size).tiles for size in sizes], prompts=prompts or range(len(sizes)))

    def cells(self, features: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """(T, n) rows and columns of the tile's grid of tokens."""
        row, col = (cell.to(features.device).expand(features.shape[:2]) for cell in self.merged.cells())
        return row, col

    def signals(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Signals of tokens, from those of patches."""
        return {name: self.merged.to_tokens(name, functools.partial(_itself, found[name])) for name in found}

    def _packing(self, size: Size) -> Packing:
        count = self.tiles(size)
        places = torch.arange(count * self.patches)
        none = torch.zeros(len(places), dtype=torch.bool)
        return Packing(none, places, places, (self.patches,) * count, len(places))


def _itself(signal: Tensor) -> Tensor:
    return signal
