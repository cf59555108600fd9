"""A balance of saliency and gain."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Combiner, ComponentSpec


class BalanceSpec(ComponentSpec):
    """A share of saliency and the rest of gain."""

    name: Literal["balance"] = "balance"
    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the saliency: 1 is saliency alone, 0 gain alone."""


class Balance(Combiner[BalanceSpec]):
    """``score_j = share * a_j + (1 - share) * g_j``; bring the saliency to the gain's scale first, e.g. with `scaled`.

    With the coverage `redundancy` it is maximal marginal relevance: Carbonell and Goldstein, SIGIR 1998. Any sign of
    saliency and gain is fine.
    """

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) the saliency's part of the score."""
        return self.spec.share * saliency

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """``gain * (1 - share) + share * a``."""
        return torch.full_like(saliency, 1 - self.spec.share), saliency

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the sum of both parts."""
        return saliency + self.affine(saliency)[0] * gain  # the same number, rounded alike, on both ways
