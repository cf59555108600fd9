"""Gemma 3 on Hugging Face: 4096 patches per image, averaged to 256 tokens in the projector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor

from scope_adapters.adapters.shuffled import Shuffled
from scope_core.parts import ComponentSpec


class Gemma3Spec(ComponentSpec):
    """Gemma 3 on Hugging Face. With pan and scan, every crop is an image of its own."""

    name: Literal["gemma3"] = "gemma3"


class Gemma3(Shuffled[Gemma3Spec]):
    """SigLIP tower. Image tokens attend to each other in both directions: ``token_type_ids`` are shortened, too."""

    image_inputs = ("pixel_values",)
    pooler = "tensor"
    shares_prefix = False
    knows_canvas = True

    model_type = "gemma3"
    geometry = "one token per square of patches (attention summed over them, keys and hidden states averaged)"
    given = "multi_modal_projector.mm_soft_emb_norm"
    merging = "multi_modal_projector.avg_pool"

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The whole last layer."""
        return -1, "full"

    def merge(self, base: Any, values: Tensor, grid: tuple[int, int]) -> Tensor:
        """The model's own pooling, which takes rows and columns as the last axes."""
        pooled: Tensor = base.multi_modal_projector.avg_pool(values.view(1, 1, *grid))
        return pooled[..., None]

    def tiles(self, model: Any, size: tuple[int, int]) -> int:
        """1: sizes are planned without pan and scan."""
        return 1

    def dealt(self, ids: Tensor, placeholder: int, tokens: int, given: int) -> list[int]:
        """One tile per image."""
        return [1] * given
