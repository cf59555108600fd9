"""Matrices computed a few rows at a time, which keeps intermediate results small."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

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
