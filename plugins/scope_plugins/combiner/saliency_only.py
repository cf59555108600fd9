"""Saliency alone."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core.parts import Combiner, ComponentSpec


class SaliencyOnlySpec(ComponentSpec):
    """The saliency itself is the score."""

    name: Literal["saliency_only"] = "saliency_only"


class SaliencyOnly(Combiner[SaliencyOnlySpec]):
    """The most salient tokens, however alike they are.

    Use it for plain top-k. ``score_j = a_j``, which may be negative, since it is only ranked.
    """

    uses_coverage = False

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the saliency."""
        return saliency
