"""PaliGemma (1 and 2) on Hugging Face: SigLIP's last layer, one linear projector, one token per patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from scope_adapters.adapters.projected import ProjectedTower
from scope_adapters.compat.transformers import base_of, scales_embeddings
from scope_core.adapters import Session
from scope_core.parts import ComponentSpec


class PaliGemmaSpec(ComponentSpec):
    """PaliGemma on Hugging Face."""

    name: Literal["paligemma"] = "paligemma"


class PaliGemma(ProjectedTower[PaliGemmaSpec]):
    """SigLIP tower. Prompt tokens attend to each other in both directions: ``token_type_ids`` are shortened, too."""

    image_inputs = ("pixel_values",)
    pooler = "tensor"
    shares_prefix = False
    first_position = 1
    model_type = "paligemma"

    def reads(self, model: Any, images: Mapping[str, Any]) -> tuple[int | Sequence[int], str]:
        """The whole last layer."""
        return -1, "full"

    def read(self, output: Any, projected: Tensor) -> Tensor:
        """The returned rows: earlier releases of transformers divide what the projector returned."""
        return torch.stack(list(output.pooler_output))

    def project(self, model: Any, attachment: Session) -> Callable[[Tensor], Tensor] | None:
        """The projector, followed by that division."""
        projector = super().project(model, attachment)
        if projector is None or scales_embeddings(base_of(model)):
            return projector
        root = model.config.text_config.hidden_size**0.5
        return lambda features: projector(features) / root
