"""Cosine matrices that are exactly symmetric, of features or of a signal."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from scope_core import VisualTokens

PANEL = 128
"""Rows of a matrix product that are computed together."""


def cosines(tokens: VisualTokens, vectors: Tensor | None = None, name: str = "features") -> Tensor:
    """(B, N, N) cosines of the features, or of other (B, N, C) vectors of the same tokens.

    The matrix is exactly symmetric, and its diagonal is exactly 1. In half precision it is the product of rounded unit
    vectors, as published code computes it: its diagonal is rounded like every other number. A zero vector has
    similarity 0 to all tokens, including itself.

    Raises:
        TokensError: a valid token's vector is not finite.
    """
    units = unit(tokens, vectors, name).detach()
    if units.element_size() < 4:
        return units @ units.mT
    matrix = products(units)
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    diagonal.copy_(diagonal != 0)
    return matrix


def unit(tokens: VisualTokens, vectors: Tensor | None = None, name: str = "features") -> Tensor:
    """(B, N, C) features, or other vectors of the same tokens, scaled to length 1; errors as for `cosines`."""
    if vectors is not None:
        tokens.check_finite(name, vectors)
        tokens = replace(tokens, features=vectors)
    return tokens.unit()


def products(vectors: Tensor) -> Tensor:
    """(B, N, N) dot products of (B, N, C) vectors of float32 or float64, exactly symmetric.

    One triangle is computed, in panels of rows, and mirrored: 0.6 of the work, and no second matrix. On an accelerator
    this is faster for large matrices only.
    """
    batch, count, _ = vectors.shape
    if count <= (PANEL if vectors.device.type == "cpu" else 4096):
        matrix = vectors @ vectors.mT
        return (matrix + matrix.mT).div_(2)
    matrix = vectors.new_empty(batch, count, count)
    for group, out in zip(vectors, matrix, strict=True):
        for start in range(0, count, PANEL):
            stop = start + PANEL
            torch.mm(group[start:stop], group[start:].T, out=out[start:stop, start:])
            if stop < count:
                out[stop:, start:stop] = out[start:stop, stop:].T
            square = out[start:stop, start:stop]
            square.copy_((square + square.mT).div_(2))
    return matrix
