"""Matrices made a few rows at a time, so that what is in between is never whole."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

TOGETHER = 2**18
"""Numbers that are looked at together."""


def by_rows(like: Tensor, function: Callable[[slice], Tensor]) -> Tensor:
    """A (B, N, N) matrix, ``function(rows)`` giving (B, R, N) of it.

    Args:
        like: (B, N, ...) of the same dtype and device.
        function: Called with some rows after others.
    """
    batch, count = like.shape[:2]
    made = like.new_empty(batch, count, count)
    few = max(1, TOGETHER // max(1, batch * count))
    for start in range(0, count, few):
        rows = slice(start, start + few)
        made[:, rows] = function(rows)
    return made
