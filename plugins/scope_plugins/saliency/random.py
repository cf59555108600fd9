"""Random saliency; with plain top-k, it is the random control for comparisons."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class RandomSpec(ComponentSpec):
    """Seeded uniform random numbers."""

    name: Literal["random"] = "random"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed; images with the same number of tokens get the same pattern, so average over seeds in comparisons."""


class Random(SaliencySource[RandomSpec]):
    """``a_j ~ U(0, 1)``, drawn on the CPU, so the same on every device and in every batch."""

    equivariant = False
    copies = 0

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 1); a row depends on the seed and its number of valid tokens alone."""
        scores = torch.zeros(tokens.shape[:2], device="cpu")
        valid = tokens.valid.cpu()
        for row, real in zip(scores, valid, strict=True):
            generator = torch.Generator("cpu").manual_seed(self.spec.seed)
            row[real] = torch.rand(int(real.sum()), generator=generator, device="cpu")
        return scores.to(tokens.features)
