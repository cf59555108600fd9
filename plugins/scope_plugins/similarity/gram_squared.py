"""Similarity by what two tokens have in common with all others, per channel."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins.similarity._cosines import products


class GramSquaredSpec(ComponentSpec):
    """The identity plus the square of the Gram matrix of features with channels of length 1."""

    name: Literal["gram_squared"] = "gram_squared"
    gamma: Annotated[float, Field(gt=0)] = 0.01
    """Factor of the square; the larger, the less the identity counts."""
    channels: Annotated[int, Field(ge=1)] | None = None
    """The number of channels that ``gamma`` is meant for: with D channels it is multiplied by ``(channels / D)^2``, for
    the square grows with D^2; null: as it is."""


class GramSquared(SimilarityMetric[GramSquaredSpec]):
    """Two tokens are alike if they relate to all tokens of the image alike.

    Use it with the coverage `log_det`: the kept tokens then span what all tokens span, weighted by how much of the
    image lies in each direction, as in OTPrune.

    With few channels or a low ``gamma`` the identity prevails: tokens then rank by their length, near copies included.

    ``S = I + gamma G G^T``, ``G = Y Y^T``; Y are the features, each channel divided by its length over all valid tokens
    of the group. Positive definite. Source: OTPrune, CVPR 2026, arXiv 2602.20205.
    """

    symmetric = True
    matrices = 2

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N), at least 1 on the diagonal."""
        features = tokens.features.masked_fill(~tokens.valid[:, :, None], 0)
        length = torch.linalg.vector_norm(features, dim=1, keepdim=True)
        gram = products(features / length.masked_fill(length == 0, 1))
        wide = 1.0 if self.spec.channels is None else self.spec.channels / features.shape[2]
        matrix = products(gram).mul_(self.spec.gamma * wide * wide)
        matrix.diagonal(dim1=1, dim2=2).add_(1)
        return matrix
