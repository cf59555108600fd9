"""Qwen3-VL on Hugging Face: as Qwen2-VL, with features of earlier layers added inside the language model."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.qwen2_vl import MergedPatches, S
from scope_core.parts import ComponentSpec


class Qwen3VLSpec(ComponentSpec):
    """Qwen3-VL: ``model_type`` "qwen3_vl" on Hugging Face. Images and videos.

    Timestamps between frames stay.
    """

    name: Literal["qwen3_vl"] = "qwen3_vl"


class DeepStack(MergedPatches[S]):
    """DeepStack features go with their tokens: picked, moved and merged like the rows."""

    has_token_fields = True


class Qwen3VL(DeepStack[Qwen3VLSpec]):
    """Qwen3-VL: attention over whole images in every layer of the tower."""

    model_type = "qwen3_vl"
