"""LLaVA-1.5 on Hugging Face: one image, one tile, one token per patch."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.projected import ProjectedTower
from scope_core.parts import ComponentSpec


class LlavaSpec(ComponentSpec):
    """LLaVA-1.5 and others of ``model_type`` "llava" on Hugging Face."""

    name: Literal["llava"] = "llava"


class Llava(ProjectedTower[LlavaSpec]):
    """CLIP-like tower and a two-layer projector."""

    model_type = "llava"
