"""Cosine similarity as published code multiplies: in float32, its diagonal rounded like every other number."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SignalName, SimilarityMetric
from scope_plugins.similarity._cosines import unit


class PlainCosineSpec(ComponentSpec):
    """Cosine of the angle between two tokens, as the product of their rounded unit vectors."""

    name: Literal["plain_cosine"] = "plain_cosine"
    of: SignalName | None = None
    """The signal that is compared, one vector per token (B N D); null for the features."""


class PlainCosine(SimilarityMetric[PlainCosineSpec]):
    """``S_ij = y_i . y_j``: y are scaled to length 1 in their own precision, and multiplied in float32 at least.

    Use it to repeat releases that do so, such as MMTok's and CDPruner's; `cosine` and `signal_cosine` are exact where
    this one is rounded: its diagonal is 1, and it is symmetric, up to rounding only. A zero vector has similarity 0.
    Sources: MMTok, arXiv 2508.18264, and CDPruner, arXiv 2506.10967, as released.
    """

    symmetric = True
    bounds = (-1.0, 1.0)
    matrices = 1
    least_itemsize = 4

    @property
    def needs(self) -> frozenset[str]:
        """The signal, if there is one."""
        return frozenset({self.spec.of} if self.spec.of else ())

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [-1, 1] up to rounding.

        Raises:
            TokensError: the signal does not have one vector per token, or contains numbers that are not finite.
        """
        units = self._units(tokens)
        units = units.float() if units.element_size() < 4 else units
        return units @ units.mT

    def _units(self, tokens: VisualTokens) -> Tensor:
        name = self.spec.of
        if name is None:
            return tokens.unit()
        vectors = tokens.signal(name)
        if vectors.dim() != 3 or vectors.shape[1] != tokens.shape[1]:
            raise TokensError(
                f"similarity {self}: signal '{name}' has shape {tuple(vectors.shape)}; expected one vector per token, "
                f"(B, N, D) with N={tokens.shape[1]}"
            )
        return unit(tokens, vectors.to(tokens.features.dtype), f"signal '{name}'")
