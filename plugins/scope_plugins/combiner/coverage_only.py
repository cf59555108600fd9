"""Coverage alone."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core.parts import Combiner, ComponentSpec


class CoverageOnlySpec(ComponentSpec):
    """The gain itself is the score."""

    name: Literal["coverage_only"] = "coverage_only"


class CoverageOnly(Combiner[CoverageOnlySpec]):
    """The token that adds the most coverage, however salient it is.

    Use it without a saliency signal. ``score_j = g_j``; with facility location, greedy selection reaches at least
    1 - 1/e of the best possible coverage.
    """

    uses_saliency = False

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset of the gain."""
        return torch.ones_like(saliency), torch.zeros_like(saliency)

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the gain."""
        return gain
