"""Cosine matrices that are exactly symmetric, of features or of a signal."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


def cosines(tokens: VisualTokens, vectors: Tensor | None = None, name: str = "features") -> Tensor:
    """(B, N, N) cosines of the features, or of other (B, N, C) vectors of the same tokens.

    The matrix is exactly symmetric with an exact unit diagonal; a zero vector has similarity 0 to everything, itself
    included.

    Raises:
        TokensError: a valid token's vector is not finite.
    """
    if vectors is not None:
        tokens.check_finite(name, vectors)
        tokens = replace(tokens, features=vectors)
    unit = tokens.unit()
    matrix = unit @ unit.transpose(1, 2)
    matrix = (matrix + matrix.transpose(1, 2)) / 2
    matrix.diagonal(dim1=1, dim2=2).copy_((unit != 0).any(-1))
    return matrix
