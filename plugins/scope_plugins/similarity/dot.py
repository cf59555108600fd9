"""Dot product of features: like cosine, but long vectors count for more."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins.similarity._rows import check_products


class DotSpec(ComponentSpec):
    """Dot product of two tokens' features."""

    name: Literal["dot"] = "dot"
    scaled: bool = False
    """Divide by the square root of the feature width, as attention does."""


class Dot(SimilarityMetric[DotSpec]):
    """``S_ij = x_i . x_j``, over ``sqrt(D)`` if scaled."""

    symmetric = True
    matrices = 1

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N), unbounded.

        Raises:
            TokensError: all products of a group are too small for the dtype.
        """
        check_products(tokens.features, tokens, str(self))
        product = tokens.features @ tokens.features.transpose(1, 2)
        return product.div_(tokens.shape[2] ** 0.5) if self.spec.scaled else product

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, D) features, over the fourth root of D if scaled; errors as for `pairwise`."""
        check_products(tokens.features, tokens, str(self))
        return tokens.features / tokens.shape[2] ** 0.25 if self.spec.scaled else tokens.features
