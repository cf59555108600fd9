"""Qwen2.5-VL on Hugging Face: as Qwen2-VL, but most layers of the tower attend in windows."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.qwen2_vl import MergedPatches
from scope_core.parts import ComponentSpec


class Qwen25VLSpec(ComponentSpec):
    """Qwen2.5-VL: ``model_type`` "qwen2_5_vl" on Hugging Face. Images and videos."""

    name: Literal["qwen2_5_vl"] = "qwen2_5_vl"


class Qwen25VL(MergedPatches[Qwen25VLSpec]):
    """Received attention is offered for layers that attend to whole images: the last one does, layer -2 does not."""

    model_type = "qwen2_5_vl"
    video_inputs = ("pixel_values_videos", "video_grid_thw", "second_per_grid_ts")
    whole = "fullatt_block_indexes"
