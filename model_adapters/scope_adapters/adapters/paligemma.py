"""PaliGemma (1 and 2) on Hugging Face: SigLIP's last layer, one linear projector, one token per patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from scope_adapters.adapters.llava import Llava
from scope_core import ComponentSpec


class PaliGemmaSpec(ComponentSpec):
    """PaliGemma on Hugging Face."""

    name: Literal["paligemma"] = "paligemma"


class PaliGemma(Llava):
    """The prompt is read in both directions; ``token_type_ids``, which say so, are shortened with the ids."""

    image_inputs = ("pixel_values",)
    pooler = "tensor"
    shares_prefix = False
    model_type = "paligemma"

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The last layer, all of it."""
        return -1, "full"
