"""Cosine similarity of a signal other than the features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SignalName, SimilarityMetric
from scope_plugins.similarity._cosines import cosines, unit


class SignalCosineSpec(ComponentSpec):
    """Cosine of the angle between two tokens' vectors in a signal."""

    name: Literal["signal_cosine"] = "signal_cosine"
    of: SignalName = "vision.hidden[-2]"
    """The signal, one vector per token (B N D), e.g. ``vision.hidden[-2]`` or ``projected``."""


class SignalCosine(SimilarityMetric[SignalCosineSpec]):
    """``S_ij = y_i . y_j / (|y_i| |y_j|)``, where ``y`` is another tensor of the same tokens.

    Use it to compare tokens in another space than the one they are pruned in: MMTok, arXiv 2508.18264, prunes projected
    tokens and compares them in the tower's space.
    """

    symmetric = mirrored = True
    bounds = (-1.0, 1.0)
    matrices = 1

    @property
    def needs(self) -> frozenset[str]:
        """The signal."""
        return frozenset({self.spec.of})

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [-1, 1] up to rounding.

        Raises:
            TokensError: the signal does not have one vector per token, or contains numbers that are not finite.
        """
        return cosines(tokens, *self._signal(tokens))

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, C) the signal, scaled to length 1; errors as for `pairwise`."""
        return unit(tokens, *self._signal(tokens))

    def _signal(self, tokens: VisualTokens) -> tuple[Tensor, str]:
        vectors = tokens.signal(self.spec.of)
        if vectors.dim() != 3 or vectors.shape[1] != tokens.shape[1]:
            raise TokensError(
                f"similarity {self}: signal '{self.spec.of}' has shape {tuple(vectors.shape)}; expected one vector per "
                f"token, (B, N, D) with N={tokens.shape[1]} (for keys use the similarity 'keys_cosine')"
            )
        return vectors.to(tokens.features.dtype), f"signal '{self.spec.of}'"
