"""From the size of a picture to its candidate tokens, by the model's configuration alone: no weights, no pictures.

The adapters for Hugging Face know it already; here they are asked without a model.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from scope_adapters.adapters.anyres import Packing, laid_out
from scope_adapters.adapters.llava import Llava, LlavaSpec
from scope_adapters.adapters.llava_next import LlavaNext, LlavaNextSpec
from scope_adapters.towers.layouts import LAYOUTS, ResolvedTower
from scope_core import AdapterError, Layout, SpecError

if TYPE_CHECKING:
    from torch import Tensor

Size = tuple[int, int]
"""(height, width) of a picture in pixels."""


class Geometry:
    """LLaVA-1.5: every picture is one tile, every patch a candidate.

    Args:
        config: The model's configuration, as Hugging Face has it.
        adapter: The adapter whose options the spec holds; that of the model under its default options if None.
    """

    host = "llava"
    newlines = "drop"

    def __init__(self, config: Any, adapter: Any = None) -> None:
        self.config = config
        self.adapter = adapter or self.default()
        self.tower = tower_of(config)
        rows, cols = self.tower.grid()
        self.before = self.tower.layout.prefix - (config.vision_feature_select_strategy == "default")
        self.patches = rows * cols + self.before
        """Rows of features of one tile."""
        self.packing = functools.lru_cache(256)(self._packing)

    def default(self) -> Any:
        """The adapter under its default options."""
        return Llava(LlavaSpec())

    @property
    def canvases(self) -> list[Size]:
        """Sizes of pictures that are cut into tiles with nothing to pad; one of them has most tokens."""
        side = int(self.config.vision_config.image_size)
        return [(side, side)]

    def seen(self, size: Size) -> Size:
        """What of a picture's size decides anything: here nothing, since all become as large."""
        return self.canvases[0]

    def tiles(self, size: Size) -> int:
        """How many tiles the tower is given of a picture."""
        return 1

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """Candidates of some pictures; each in a prompt of its own if ``prompts`` does not say otherwise."""
        return Layout.of([self.patches] * len(sizes), prompts=prompts or range(len(sizes)))

    def cells(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(T, n) rows and columns of the tile's grid."""
        rows, cols = self.adapter.cells_of(None, features, self.tower.grid(), self.before)
        return rows, cols

    def _packing(self, size: Size) -> Packing:
        import torch

        places = torch.arange(self.patches)
        return Packing(torch.zeros(self.patches, dtype=torch.bool), places, places, (self.patches,), self.patches)


class TiledGeometry(Geometry):
    """LLaVA-NeXT: an overview tile and several more, unpadded, with newline tokens at the ends of rows."""

    host = "llava_next"

    def default(self) -> Any:
        """The adapter under its default options."""
        return LlavaNext(LlavaNextSpec())

    @property
    def newlines(self) -> str:  # type: ignore[override]
        """What becomes of newline tokens."""
        return str(self.adapter.newlines)

    @property
    def canvases(self) -> list[Size]:
        """What a picture may be laid on."""
        return [(int(height), int(width)) for height, width in self.config.image_grid_pinpoints]

    def seen(self, size: Size) -> Size:
        """All of it."""
        return size

    def tiles(self, size: Size) -> int:
        """The overview tile counts."""
        return len(self.packing(size).tiles)

    def layout(self, sizes: Sequence[Size], prompts: Sequence[int] | None = None) -> Layout:
        """Tile by tile, the overview first."""
        return laid_out([self.packing(size) for size in sizes], prompts or range(len(sizes)), self.newlines)

    def _packing(self, size: Size) -> Packing:
        import torch
        from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

        side = self.config.vision_config.image_size
        count = image_size_to_num_patches(list(size), self.config.image_grid_pinpoints, side)
        packed: Packing = self.adapter.packings(
            _bare_model(self.config), [count], self.patches, {"image_sizes": torch.tensor([size])}
        )[0]
        return packed


def geometry_of(config: Any, adapter: Any = None) -> Geometry:
    """The geometry for the configuration of a model.

    Raises:
        AdapterError: the model is of a type that is not served.
        SpecError: the adapter is that of another.
    """
    served = {kind.host: kind for kind in (Geometry, TiledGeometry)}
    if config.model_type not in served:
        raise AdapterError(
            f"models of model_type '{config.model_type}' are not served with pruning; these are: {', '.join(served)}"
        )
    if adapter is not None and adapter.spec.name != config.model_type:
        raise SpecError(
            f"adapter '{adapter.spec.name}' is not that of this model, which is '{config.model_type}'; name that one, "
            f"or leave `adapter` out"
        )
    return served[config.model_type](config, adapter)


def tower_of(config: Any) -> ResolvedTower:
    """A tower without weights: its layout and how many layers it has.

    Raises:
        AdapterError: the tower is of another type, or features are taken of it in a way that is not served.
    """
    vision, layer, strategy = config.vision_config, config.vision_feature_layer, config.vision_feature_select_strategy
    if vision.model_type not in _TOWERS:
        raise AdapterError(
            f"vision towers of type '{vision.model_type}' are not served with pruning; these are: "
            f"{', '.join(_TOWERS)}. On Hugging Face, attach() may serve it: see `scope models adapters`"
        )
    if not isinstance(layer, int):
        raise AdapterError(
            f"vision_feature_layer is {layer!r}: features of several layers side by side are not served with pruning, "
            f"only those of one layer"
        )
    if strategy not in ("default", "full"):
        raise AdapterError(
            f"vision_feature_select_strategy is {strategy!r}; served with pruning are 'default' (patches) and 'full' "
            f"(CLS as well)"
        )
    layers = range(int(vision.num_hidden_layers))
    return ResolvedTower(SimpleNamespace(config=vision), LAYOUTS[vision.model_type], layers, {})


_TOWERS = ("clip_vision_model", "siglip_vision_model")
"""Types of towers whose attention `scope_adapters.serving.tower` can read in vLLM."""


@functools.lru_cache(8)
def _bare_class() -> Any:
    from torch import nn
    from transformers.models.llava_next.modeling_llava_next import LlavaNextModel

    class Bare(LlavaNextModel):  # type: ignore[misc]
        """Hugging Face's model for its packing, which reads nothing but the configuration."""

        def __init__(self, config: Any) -> None:
            nn.Module.__init__(self)
            self.config = config

    return Bare


def _bare_model(config: Any) -> Any:
    return _bare_class()(config)
