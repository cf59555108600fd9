"""Uniform saliency: every token is equally salient, so that coverage alone decides."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class UniformSpec(ComponentSpec):
    """The same saliency for every token."""

    name: Literal["uniform"] = "uniform"


class Uniform(SaliencySource[UniformSpec]):
    """``a_j = 1``."""

    reach = (0, 0)
    copies = 0

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) of ones."""
        return tokens.features.new_ones(tokens.shape[:2])
