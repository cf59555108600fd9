"""Qwen3.5 on Hugging Face: Qwen3-VL's tower without DeepStack, and a language model of recurrent layers.

Tokens cannot be pruned inside its language model, whose recurrent layers keep no position of their own.
"""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.qwen2_vl import MergedPatches
from scope_core.parts import ComponentSpec


class Qwen35Spec(ComponentSpec):
    """Qwen3.5: ``model_type`` "qwen3_5" on Hugging Face. Images and videos."""

    name: Literal["qwen3_5"] = "qwen3_5"


class Qwen35(MergedPatches[Qwen35Spec]):
    """Three of four layers are recurrent; tokens dropped before the language model never enter their state."""

    model_type = "qwen3_5"
