"""SmolVLM (1 and 2) on Hugging Face: the layout of Idefics3 in smaller models."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.idefics3 import Crops, Idefics3Spec


class SmolVLMSpec(Idefics3Spec):
    """SmolVLM on Hugging Face; crops and images as in Idefics3. Frames of a video are images."""

    name: Literal["smolvlm"] = "smolvlm"  # type: ignore[assignment]


class SmolVLM(Crops[SmolVLMSpec]):
    """SmolVLM on Hugging Face."""

    model_type = "smolvlm"
    processor = "SmolVLMImageProcessor"
