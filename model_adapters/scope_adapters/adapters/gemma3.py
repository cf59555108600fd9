"""Gemma 3 on Hugging Face: 4096 patches per image, averaged to 256 tokens in the projector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from scope_adapters.adapters.shuffled import Patches, Shuffled
from scope_core.parts import ComponentSpec


class Gemma3Spec(ComponentSpec):
    """Gemma 3 on Hugging Face. With pan and scan, every crop is an image of its own."""

    name: Literal["gemma3"] = "gemma3"


class Gemma3(Shuffled[Gemma3Spec]):
    """SigLIP tower. Image tokens attend to each other in both directions: ``token_type_ids`` are shortened, too."""

    image_inputs = ("pixel_values",)
    pooler = "tensor"
    shares_prefix = False

    model_type = "gemma3"
    geometry = "one token per square of patches (attention summed over them, keys and hidden states averaged)"
    given = "multi_modal_projector.mm_soft_emb_norm"
    merging = "multi_modal_projector.avg_pool"

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The whole last layer."""
        return -1, "full"

    def patches(self, base: Any, grid: tuple[int, int]) -> Patches:
        """The patches of each token: those at which the gradient of the pooling is not zero."""
        with torch.inference_mode(False), torch.enable_grad():
            pixels = torch.zeros(1, 1, *grid, dtype=torch.float64, requires_grad=True)
            pooled = base.multi_modal_projector.avg_pool(pixels).flatten()
            number = torch.arange(1.0, len(pooled) + 1, dtype=torch.float64)
            (share,) = torch.autograd.grad(pooled, pixels, torch.ones_like(number), retain_graph=True)
            (token,) = torch.autograd.grad(pooled, pixels, number)
        owner = (token / share).nan_to_num().round().long().flatten()  # 0: the patch is in no token
        used = (owner > 0).nonzero().flatten()
        return Patches(used[owner[used].argsort(stable=True)].view(len(number), -1), grid)

    def tiles(self, model: Any, size: tuple[int, int]) -> int:
        """1: sizes are planned without pan and scan."""
        return 1

    def dealt(self, ids: Tensor, placeholder: int, tokens: int, given: int) -> list[int]:
        """One tile per image."""
        return [1] * given
