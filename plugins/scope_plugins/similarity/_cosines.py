"""Cosine matrices that are exactly symmetric, of features or of a signal."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scope_core import VisualTokens

PANEL = 128
"""Rows of a matrix product that are computed together: small enough to save work, large enough to be fast."""


def cosines(tokens: VisualTokens, vectors: Tensor | None = None, name: str = "features") -> Tensor:
    """(B, N, N) cosines of the features, or of other (B, N, C) vectors of the same tokens.

    The matrix is exactly symmetric with an exact unit diagonal; a zero vector has similarity 0 to everything, itself
    included.

    Raises:
        TokensError: a valid token's vector is not finite.
    """
    matrix = products(unit(tokens, vectors, name))
    own = matrix.diagonal(dim1=1, dim2=2)
    own.copy_(own != 0)
    return matrix


def unit(tokens: VisualTokens, vectors: Tensor | None = None, name: str = "features") -> Tensor:
    """(B, N, C) features, or other vectors of the same tokens, scaled to length 1; errors as for `cosines`."""
    if vectors is not None:
        tokens.check_finite(name, vectors)
        tokens = replace(tokens, features=vectors)
    return tokens.unit()


def products(vectors: Tensor) -> Tensor:
    """(B, N, N) dot products of (B, N, C) vectors, exactly symmetric.

    One triangle is computed, in panels of rows, and mirrored: 0.6 of the work, and no second matrix. On an accelerator
    that pays for large ones only.
    """
    vectors = vectors.detach()
    batch, count, _ = vectors.shape
    if vectors.element_size() < 4 or count <= (PANEL if vectors.device.type == "cpu" else 4096):
        matrix = vectors @ vectors.mT
        return (matrix + matrix.mT).div_(2)
    matrix = vectors.new_empty(batch, count, count)
    for group, mine in zip(vectors, matrix, strict=True):
        for start in range(0, count, PANEL):
            stop = start + PANEL
            torch.mm(group[start:stop], group[start:].T, out=mine[start:stop, start:])
            mine[stop:, start:stop] = mine[start:stop, stop:].T
            square = mine[start:stop, start:stop]  # on the diagonal, so it mirrors itself
            square.copy_((square + square.mT).div_(2))
    return matrix
