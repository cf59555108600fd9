"""Closeness in the token grid."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric
from scope_plugins._places import check_places
from scope_plugins.similarity._rows import by_rows


class SpatialSpec(ComponentSpec):
    """A kernel of the distance between two tokens' places in the grid of their tile."""

    name: Literal["spatial"] = "spatial"
    scale: Annotated[float, Field(gt=0)] = 2.0
    """Distance in tokens at which the kernel has fallen to exp(-1/2) (gaussian) or exp(-1) (exponential)."""
    kernel: Literal["gaussian", "exponential"] = "gaussian"
    """The decrease of similarity with distance."""


class Spatial(SimilarityMetric[SpatialSpec]):
    """``S_ij = exp(-d_ij^2 / (2 s^2))`` or ``exp(-d_ij / s)``, d the distance in rows and columns; 0 across tiles.

    Both kernels are positive definite. In a `blend` with a cosine, near tokens count as more similar than far ones.
    """

    reads_places = True

    symmetric = True
    bounds = (0.0, 1.0)
    matrices = 1

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [0, 1], 1 on the diagonal.

        Raises:
            TokensError: a valid token has no place in a grid.
        """
        check_places(self, tokens, "a similarity of features")
        # half precision has too few digits for places and their squares
        wide = torch.promote_types(tokens.features.dtype, torch.float32)
        row, col = (plane.to(wide) for plane in (tokens.row, tokens.col))
        tile, image, scale = tokens.tile, tokens.image, self.spec.scale

        def near(rows: slice) -> Tensor:
            square = (row[:, rows, None] - row[:, None, :]) ** 2 + (col[:, rows, None] - col[:, None, :]) ** 2
            exponent = -square / (2 * scale * scale) if self.spec.kernel == "gaussian" else -square.sqrt() / scale
            apart = (tile[:, rows, None] != tile[:, None, :]) | (image[:, rows, None] != image[:, None, :])
            return exponent.exp().masked_fill(apart, 0)

        return by_rows(tokens.features, near)
