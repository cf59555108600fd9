"""Matrices computed a few rows at a time, which keeps intermediate results small, and the range of dot products."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scope_core import TokensError, VisualTokens

BLOCK = 2**18
"""Numbers that are computed together."""


def by_rows(like: Tensor, function: Callable[[slice], Tensor]) -> Tensor:
    """(B, N, N) matrix, computed as ``function(rows)`` for consecutive rows.

    Args:
        like: (B, N, ...) tensor of the same dtype and device.
        function: Returns (B, R, N) for a slice of R rows.
    """
    batch, count = like.shape[:2]
    matrix = like.new_empty(batch, count, count)
    few = max(1, BLOCK // max(1, batch * count))
    for start in range(0, count, few):
        rows = slice(start, start + few)
        matrix[:, rows] = function(rows)
    return matrix


def range_of(matrix: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B,) highest and lowest entries of a (B, N, N) matrix between valid tokens; a few rows at a time."""
    batch, count = valid.shape
    high, low = matrix.new_full((batch,), -torch.inf), matrix.new_full((batch,), torch.inf)
    few = max(1, BLOCK // max(1, batch * count))
    for rows, real in zip(torch.split(matrix, few, dim=1), torch.split(valid, few, dim=1), strict=True):
        padding = ~(real[:, :, None] & valid[:, None])
        high = high.maximum(rows.masked_fill(padding, -torch.inf).amax((1, 2)))
        low = low.minimum(rows.masked_fill(padding, torch.inf).amin((1, 2)))
    return high, low


def check_products(vectors: Tensor, tokens: VisualTokens, who: str) -> None:
    """Refuse (B, N, C) vectors whose dot products are so small that they have lost digits, or are 0.

    Raises:
        TokensError: the squared lengths of all vectors of a group, the largest products, are too small.
    """
    squares = vectors.detach().square().sum(2).masked_fill(~tokens.valid, 0)
    least = torch.finfo(vectors.dtype).tiny
    small = (squares < least).all(1)
    if bool(small.any()):
        lost = small & ((vectors != 0).any(2) & tokens.valid).any(1)
        if bool(lost.any()):
            group = int(lost.nonzero()[0])
            raise TokensError(
                f"similarity {who}: products of {tokens.name_of(group)} are at most {float(squares[group].max()):.4g}, "
                f"below {least:.4g}, from which on {str(vectors.dtype)[6:]} loses digits; use `dtype: float64`, a "
                f"cosine, or features of another scale"
            )
