"""ViP-LLaVA on Hugging Face: LLaVA whose projector reads several layers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scope_adapters.adapters.projected import ProjectedTower
from scope_adapters.compat.transformers import FEATURE_LAYER_NAMES
from scope_core.parts import ComponentSpec


class VipLlavaSpec(ComponentSpec):
    """ViP-LLaVA on Hugging Face."""

    name: Literal["vipllava"] = "vipllava"


class VipLlava(ProjectedTower[VipLlavaSpec]):
    """Features at ``vision`` are five layers side by side; the first token of each is always cut off."""

    image_inputs = ("pixel_values", *FEATURE_LAYER_NAMES)
    pooler = "tensor"
    model_type = "vipllava"

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The layers that the call or else the config names."""
        given = (images.get(name, getattr(model.config, name, None)) for name in FEATURE_LAYER_NAMES)
        return next(layers for layers in given if layers is not None), "default"
