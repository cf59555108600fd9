"""Weighted sum of saliency and gain, the weights adding up to 1."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Combiner, ComponentSpec


class BalanceSpec(ComponentSpec):
    """``share x saliency + (1 - share) x gain``."""

    name: Literal["balance"] = "balance"
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the saliency: 1 is saliency alone, 0 gain alone."""


class Balance(Combiner[BalanceSpec]):
    """Salient tokens that also add coverage, traded off by one number.

    Use it where gains or saliency may be negative, as with the coverage `redundancy`: together they are maximal
    marginal relevance. Bring the saliency to the scale of the gain first, e.g. with `scaled`.

    ``score_j = share * a_j + (1 - share) * g_j``. Source: Carbonell and Goldstein, SIGIR 1998.
    """

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) ``share * a``."""
        return self.spec.share * saliency

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset of the gain: ``1 - share`` and ``share * a``."""
        return torch.full_like(saliency, 1 - self.spec.share), saliency

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the weighted sum."""
        return saliency + self.affine(saliency)[0] * gain  # rounds exactly as kernels do, which use `affine`
