"""Qwen3.5 with a mixture of experts on Hugging Face: pruned as Qwen3.5 is."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.qwen2_vl import MergedPatches
from scope_core.parts import ComponentSpec


class Qwen35MoeSpec(ComponentSpec):
    """Qwen3.5-MoE: ``model_type`` "qwen3_5_moe" on Hugging Face. Images and videos."""

    name: Literal["qwen3_5_moe"] = "qwen3_5_moe"


class Qwen35Moe(MergedPatches[Qwen35MoeSpec]):
    """Experts are chosen for each token alone, so those of the tokens that stay do not change."""

    model_type = "qwen3_5_moe"
