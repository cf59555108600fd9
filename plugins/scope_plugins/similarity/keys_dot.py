"""Dot product of key projections."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric


class KeysDotSpec(ComponentSpec):
    """Dot product of two tokens' keys at one layer of the tower."""

    name: Literal["keys_dot"] = "keys_dot"
    layer: int = -2
    """Which layer's keys, counted as in ``hidden_states``: -1 is the last layer."""
    heads: Literal["mean", "concat"] = "mean"
    """Whether a token's key is the mean over heads, or all heads side by side."""


class KeysDot(SimilarityMetric[KeysDotSpec]):
    """``S_ij = k_i . k_j``. Sums of it over groups of tokens are dot products of their summed keys.

    Source: ToMe, arXiv 2210.09461, which averages keys as it folds tokens.
    """

    symmetric = True
    matrices = 1

    @property
    def needs(self) -> frozenset[str]:
        """One layer's keys."""
        return frozenset({f"vision.keys[{self.spec.layer}]"})

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N), unbounded."""
        vectors = self.vectors(tokens)
        return vectors @ vectors.transpose(1, 2)

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, C) mean keys, or those of all heads in a row."""
        keys = tokens.signal(f"vision.keys[{self.spec.layer}]").to(tokens.features.dtype)
        return keys.mean(1) if self.spec.heads == "mean" else keys.transpose(1, 2).flatten(2)
