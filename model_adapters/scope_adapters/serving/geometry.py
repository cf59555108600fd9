"""The candidate tokens of an image by its size, from the model's config alone: no weights, no pixels."""

from __future__ import annotations

from typing import Any

from scope_adapters.serving.grids import ADAPTERS, GridGeometry
from scope_adapters.serving.interpolated import InterpolatedGeometry
from scope_adapters.serving.shuffled import ShuffledGeometry
from scope_adapters.serving.sizes import Size as Size
from scope_adapters.serving.tiles import Geometry as Geometry
from scope_adapters.serving.tiles import TiledGeometry as TiledGeometry
from scope_core import AdapterError, SpecError

CONVERTED = {
    "internvl_chat": " in the format of their own code (InternVLChatModel). Use the converted checkpoint, whose name "
    "ends with -hf, such as OpenGVLab/InternVL3-1B-hf"
}
"""What to use in place of checkpoints with code of their own, by ``model_type``."""


def geometry_of(config: Any, adapter: Any = None) -> Geometry:
    """The geometry for the config of a model.

    Raises:
        AdapterError: models of this type are not supported.
        SpecError: the adapter is that of another model.
    """
    tiled = (Geometry, TiledGeometry, InterpolatedGeometry, ShuffledGeometry)
    served: dict[str, Any] = {kind.host: kind for kind in tiled}
    served |= dict.fromkeys(ADAPTERS, GridGeometry)
    if config.model_type not in served:
        raise AdapterError(
            f"models of model_type '{config.model_type}' cannot be served with pruning"
            f"{CONVERTED.get(config.model_type, '')}; supported: {', '.join(served)}"
        )
    if adapter is not None and adapter.spec.name != config.model_type:
        raise SpecError(
            f"adapter '{adapter.spec.name}' does not fit this model; use adapter '{config.model_type}', or omit "
            f"`adapter`"
        )
    made: Geometry = served[config.model_type](config, adapter)
    return made
