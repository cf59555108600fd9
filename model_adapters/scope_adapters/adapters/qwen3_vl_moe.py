"""Qwen3-VL with a mixture of experts on Hugging Face: pruned as Qwen3-VL is."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.qwen3_vl import DeepStack
from scope_core.parts import ComponentSpec


class Qwen3VLMoeSpec(ComponentSpec):
    """Qwen3-VL-MoE: ``model_type`` "qwen3_vl_moe" on Hugging Face. Images and videos."""

    name: Literal["qwen3_vl_moe"] = "qwen3_vl_moe"


class Qwen3VLMoe(DeepStack[Qwen3VLMoeSpec]):
    """Experts are chosen for each token alone, so those of the tokens that stay do not change."""

    model_type = "qwen3_vl_moe"
