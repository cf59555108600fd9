"""No coverage: every token adds the same, whichever tokens are kept."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction


class ModularSpec(ComponentSpec):
    """A gain of 1 for every token; with any combiner, this is plain top-k by saliency."""

    name: Literal["modular"] = "modular"


class Modular(CoverageFunction[ModularSpec]):
    """``f(A) = |A|``. Reads no similarity, so the N x N matrix is never computed."""

    uses_similarity = False
    monotone = True
    submodular = True

    def start(self, similarity: Tensor, tokens: VisualTokens) -> Tensor:
        """The state is the gain itself."""
        return tokens.features.new_ones(tokens.shape[:2])

    def gain(self, state: Tensor) -> Tensor:
        """(B, N) of ones."""
        return state

    def add(self, state: Tensor, pick: Tensor) -> Tensor:
        """Nothing changes."""
        return state
