"""Dot product of key projections."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins.similarity._rows import check_products


class KeysDotSpec(ComponentSpec):
    """Dot product of two tokens' keys at one layer of the tower."""

    name: Literal["keys_dot"] = "keys_dot"
    layer: int = -2
    """The layer whose keys are read, counted as in ``hidden_states``: -1 is the last layer."""
    heads: Literal["mean", "concat"] = "mean"
    """A token's key: the mean over heads, or all heads concatenated."""


class KeysDot(SimilarityMetric[KeysDotSpec]):
    """Tokens are alike if the tower attends to them alike; long keys count for more.

    Use it with the selector `bipartite` and ``fold``: sums of it over merged tokens are dot products of their summed
    keys, so that merged tokens are compared by their average key.

    ``S_ij = k_i . k_j``. Source: ToMe, arXiv 2210.09461, which averages keys as it merges tokens.
    """

    symmetric = True
    matrices = 1

    @property
    def needs(self) -> frozenset[str]:
        """The keys of one layer."""
        return frozenset({f"vision.keys[{self.spec.layer}]"})

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N), unbounded.

        Raises:
            TokensError: all products of a group are too small for the dtype.
        """
        vectors = self.vectors(tokens)
        return vectors @ vectors.transpose(1, 2)

    def vectors(self, tokens: VisualTokens) -> Tensor:
        """(B, N, C) mean keys, or the concatenated keys of all heads; errors as for `pairwise`."""
        keys = tokens.signal(f"vision.keys[{self.spec.layer}]").to(tokens.features.dtype)
        vectors = keys.mean(1) if self.spec.heads == "mean" else keys.transpose(1, 2).flatten(2)
        check_products(vectors, tokens, str(self))
        return vectors
