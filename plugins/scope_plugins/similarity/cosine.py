"""Cosine similarity of features."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins.similarity._cosines import cosines


class CosineSpec(ComponentSpec):
    """Cosine of the angle between two tokens' features."""

    name: Literal["cosine"] = "cosine"


class Cosine(SimilarityMetric[CosineSpec]):
    """``S_ij = x_i . x_j / (|x_i| |x_j|)``; a zero vector has similarity 0 to all tokens, including itself.

    The matrix is exactly symmetric, and its diagonal is exactly 1. Otherwise two tokens that cover only each other
    would differ in their gains by rounding, and ties would not go to the lowest index. In half precision (``dtype:
    as_is``) both hold up to rounding only, as in published code.
    """

    symmetric = mirrored = True
    bounds = (-1.0, 1.0)
    matrices = 1

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [-1, 1] up to rounding."""
        return cosines(tokens)

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, D) features scaled to length 1."""
        return tokens.unit()
