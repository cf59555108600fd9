"""The candidate tokens of images that are one tile or several of the same size: LLaVA-1.5 and LLaVA-NeXT.

The code is that of the adapters for Hugging Face, called without a model.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.anyres import own_function
from scope_adapters.adapters.llava import Llava, LlavaSpec
from scope_adapters.adapters.llava_next import LlavaNext, LlavaNextSpec
from scope_adapters.adapters.packing import Packing, layout_from, numbered
from scope_adapters.serving.sizes import IMAGE, Pixels, Video, words
from scope_adapters.serving.sizes import Size as Size
from scope_adapters.serving.tower import CLIP
from scope_adapters.towers.layouts import LAYOUTS, ResolvedTower
from scope_core import AdapterError, Layout, Pruner, VisualTokens


class Geometry:
    """LLaVA-1.5: every image is one tile, every patch a candidate.

    Args:
        config: The model's config on Hugging Face.
        adapter: The adapter with its options; by default that of the model.
    """

    host = "llava"
    newlines = "drop"
    merges = frozenset({"vision", "projected"})
    """Points at which tokens may be merged; without "vision", rows are picked after the projector."""
    places = 0
    """Number of columns beside each row for its place; see `scope_adapters.serving.grids`."""
    paths = CLIP
    """The places of the tower's parts in vLLM's model."""
    media: tuple[str, ...] = (IMAGE,)
    """Media that the model takes in vLLM."""
    placeholder = "image_token_index"
    """Name of the placeholder's id in the config."""

    def __init__(self, config: Any, adapter: Any = None) -> None:
        self.config = config
        self.adapter = adapter or self.default()
        self.tower = tower_of(config)
        rows, cols = self.tower.grid()
        self.before = self.tower.layout.prefix - (config.vision_feature_select_strategy == "default")
        self.patches = rows * cols + self.before
        """The number of feature rows of one tile."""
        self.read = self.patches
        """The number of the tower's rows of one tile that have signals."""
        self.heads = int(config.vision_config.num_attention_heads)
        self.width = int(config.vision_config.hidden_size)
        self.given = self.width
        """Width of a row that the projector is given."""
        self.packing = functools.lru_cache(256)(self._packing)

    def default(self) -> Any:
        """The adapter with default options."""
        return Llava(LlavaSpec())

    @property
    def canvases(self) -> list[Pixels]:
        """Sizes of images that need no padding; one of them has the most tokens."""
        side = int(self.config.vision_config.image_size)
        return [(side, side)]

    def seen(self, size: Size) -> Size:
        """A size with the same tokens: that of the tile, since all images are resized to it."""
        return self.canvases[0]

    def tiles(self, size: Size) -> int:
        """The number of tiles of an image."""
        return 1

    def words(self, size: Size) -> str:
        """The size of an image in words."""
        return words(size)

    @property
    def rehearsed(self) -> list[Pixels]:
        """Sizes of images for the rehearsal, if they do not follow from the canvases."""
        return []

    @property
    def videos(self) -> list[Video]:
        """Sizes of a short and a long video; none if the model takes no videos."""
        return []

    @property
    def rehearsed_videos(self) -> list[Video]:
        """Sizes of videos for the rehearsal."""
        return self.videos

    def refusal(self, pruner: Pruner, medium: str) -> str:
        """The reason why this model refuses a medium under a spec; empty if it does not."""
        return ""

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """The layout of images of these sizes; each has a prompt of its own if ``prompts`` is None."""
        return Layout.of([self.patches] * len(sizes), prompts=prompts or range(len(sizes)))

    def cells(self, features: Tensor, sizes: Sequence[Size]) -> tuple[Tensor, Tensor]:
        """(T, n) rows and columns of the tile's grid."""
        rows, cols = self.adapter.cells_of(None, features, self.tower.grid(), self.before)
        return rows, cols

    def signals(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Signals of tokens, from those of the tower's rows."""
        return dict(found)

    def tokens(self, tiles: VisualTokens, packings: Sequence[Packing], sizes: Sequence[Size]) -> VisualTokens:
        """The candidates, one group per image, from one group per tile."""
        return regrouped(tiles, packings)

    def columns(self, sizes: Sequence[Size]) -> Tensor:
        """(N, `places`) columns of the tokens of an image; all images are of the same size."""
        raise NotImplementedError

    def _packing(self, size: Size) -> Packing:
        places = torch.arange(self.patches)
        return Packing(torch.zeros(self.patches, dtype=torch.bool), places, places, (self.patches,), self.patches)


class TiledGeometry(Geometry):
    """LLaVA-NeXT: an overview tile and several others, unpadded, with newline tokens at the ends of rows."""

    host = "llava_next"

    def default(self) -> Any:
        """The adapter with default options."""
        return LlavaNext(LlavaNextSpec())

    @property
    def newlines(self) -> str:  # type: ignore[override]
        """The treatment of newline tokens: the adapter's option."""
        return str(self.adapter.newlines)

    @property
    def canvases(self) -> list[Pixels]:
        """Sizes of the canvases that the config allows."""
        return [(int(height), int(width)) for height, width in self.config.image_grid_pinpoints]

    def seen(self, size: Size) -> Size:
        """The size itself."""
        return size

    def tiles(self, size: Size) -> int:
        """The number of tiles, with the overview."""
        return len(self.packing(size).tiles)

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """The layout, tile by tile, the overview first."""
        return layout_from([self.packing(size) for size in sizes], prompts or range(len(sizes)), self.newlines)

    def _packing(self, size: Size) -> Packing:
        side, bare = self.config.vision_config.image_size, bare_model(self.config)
        count = own_function(bare, "image_size_to_num_patches")(list(size), self.config.image_grid_pinpoints, side)
        packed: Packing = self.adapter.packings(bare, [count], self.patches, {"image_sizes": torch.tensor([size])})[0]
        return packed


def tower_of(config: Any) -> ResolvedTower:
    """A tower without weights: its layout and its number of layers.

    Raises:
        AdapterError: towers of this type, or features from several of its layers, are not supported.
    """
    vision, layer, strategy = config.vision_config, config.vision_feature_layer, config.vision_feature_select_strategy
    if vision.model_type not in _TOWERS:
        raise AdapterError(
            f"vision towers of type '{vision.model_type}' cannot be served with pruning; supported: "
            f"{', '.join(_TOWERS)}. attach() supports more towers on Hugging Face: run `scope models adapters`"
        )
    if isinstance(layer, list | tuple):
        raise AdapterError(
            f"vision_feature_layer is {layer!r}: features of several layers side by side cannot be served with "
            f"pruning; use those of one layer"
        )
    layers, heads, width = (int(getattr(vision, key)) for key in _SIZES)
    if not isinstance(layer, int):
        raise AdapterError(f"vision_feature_layer is {layer!r}; give the number of one of the tower's {layers} layers")
    if heads < 1 or width % heads:
        raise AdapterError(f"num_attention_heads of the vision tower is {heads}; it has to divide hidden_size, {width}")
    if not -layers <= layer <= layers or layer == 0:
        raise AdapterError(f"vision_feature_layer is {layer}, but the vision tower has {layers} layers")
    if strategy not in ("default", "full"):
        raise AdapterError(
            f"vision_feature_select_strategy is {strategy!r}; serving with pruning supports 'default' (patches) and "
            f"'full' (CLS, too)"
        )
    return ResolvedTower(SimpleNamespace(config=vision), LAYOUTS[vision.model_type], range(layers), {})


_SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size")
_TOWERS = ("clip_vision_model", "siglip_vision_model")
"""Types of towers whose attention `scope_adapters.serving.tower` can read."""


def regrouped(tiles: VisualTokens, packings: Sequence[Packing]) -> VisualTokens:
    """The candidates, one group per image, where every candidate is a patch of a tile."""
    starts = accumulate((packing.patches for packing in packings), initial=0)
    index = [packing.source + start for packing, start in zip(packings, starts, strict=False)]
    counts = [packing.patches // tiles.shape[1] for packing in packings]
    return numbered(tiles, counts).regroup(pad_sequence(index, True, -1).to(tiles.device))


@functools.lru_cache(8)
def _bare_class(model_type: str) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    class Bare(MODEL_MAPPING[CONFIG_MAPPING[model_type]]):  # type: ignore[misc]
        """Hugging Face's model without weights, for its packing, which reads only the config."""

        def __init__(self, config: Any) -> None:
            nn.Module.__init__(self)
            self.config = config

    return Bare


def bare_model(config: Any) -> Any:
    """Hugging Face's model for ``config``, without weights."""
    return _bare_class(config.model_type)(config)
