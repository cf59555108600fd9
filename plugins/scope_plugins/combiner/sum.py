"""Sum: the additive variant of SCOPE's ablation."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Combiner, ComponentSpec
from scope_plugins.combiner._power import power


class SumSpec(ComponentSpec):
    """``gain + (saliency / normaliser)^alpha``."""

    name: Literal["sum"] = "sum"
    alpha: Annotated[float, Field(ge=0)] = 1.0
    """Exponent of the saliency."""
    normaliser: Literal["none", "max", "sum", "mean"] = "none"
    """The divisor of the saliency in each group; a sum depends on its scale. ``none`` is the published code, which
    adds gains of up to N and attention of up to the number of heads."""


class Sum(Combiner[SumSpec]):
    """Tokens that are salient or add coverage; either is enough.

    Use it to repeat SCOPE's ablation; `product` needs no choice of scale. Saliency must be at least 0.

    ``score_j = g_j + (a_j / z)^alpha``. Source: SCOPE, arXiv 2510.24214 (release, mode ``add``).
    """

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) ``(a / z)^alpha``; z is 1 for groups where the divisor would be 0."""
        real = saliency.masked_fill(~tokens.valid, 0)
        if self.spec.normaliser == "max":
            scale = real.amax(1, keepdim=True)
        elif self.spec.normaliser == "none":
            scale = real.new_ones((real.shape[0], 1))
        else:
            scale = real.sum(1, keepdim=True)
            if bool(torch.isinf(scale).any()):  # half precision
                scale = real.double().sum(1, keepdim=True)
            if self.spec.normaliser == "mean":
                scale = scale / tokens.valid.sum(1, keepdim=True).clamp(min=1)
        whole = power(saliency, 1.0, tokens, str(self))  # checked before dividing: a negative sum hides negative scores
        return (whole / scale.masked_fill(scale == 0, 1)).pow(self.spec.alpha)

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset of the gain."""
        return torch.ones_like(saliency), saliency

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the sum."""
        return gain + saliency
