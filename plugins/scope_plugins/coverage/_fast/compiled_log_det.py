"""Compiled updates (numba) of gains of the log-determinant: one more row of its factor per pick."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast.compiled import compiled

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from scope_plugins.coverage._fast.incremental import Group


def factoring(
    similarity: np.ndarray, variance: Tensor, floor: Tensor, gain: Tensor, count: int, refuse: Callable[[], None]
) -> Group:
    """Gains and their update, ``log(variance)``.

    Args:
        similarity: (N, N), symmetric.
        variance: (N,) float64, changed: what is left of each token's.
        floor: (N,) below which nothing is left but rounding.
        gain: (N,) float64, changed: of the empty set.
        count: How many picks there will be.
        refuse: Called when a variance falls below 0.
    """
    import numpy as np
    import torch

    remains = torch.empty_like(variance)
    factor, pivots = np.empty((count, len(variance))), np.empty(count)
    columns = [column.numpy() for column in (variance, floor, remains)]
    extend, worst, filled = kernel(), float(floor.amax()), iter(range(count))

    def add(pick: int) -> None:
        if not extend(similarity, factor, pivots, next(filled), *columns, worst, pick):
            refuse()
        torch.log(remains, out=gain)  # torch's logarithm and others differ in the last bit

    return gain.numpy(), add


@functools.cache
def kernel() -> Any:
    """The compiled update."""
    return compiled(_extend)


def _extend(
    similarity: np.ndarray,
    factor: np.ndarray,
    pivots: np.ndarray,
    count: int,
    variance: np.ndarray,
    floor: np.ndarray,
    remains: np.ndarray,
    worst: float,
    pick: int,
) -> bool:
    """The operations of ``LogDet.add`` for one group, in its order.

    Args:
        similarity: (N, N).
        factor: (K, N) float64, of which ``count`` rows are filled; one more is.
        pivots: (K,) float64, likewise.
        count: Picks so far.
        variance: (N,) float64, changed: what is left of each token's variance.
        floor: (N,) below which nothing is left but rounding.
        remains: (N,) out: what gains are logarithms of.
        worst: The highest of ``floor``.
        pick: The token.

    Returns:
        Whether every variance is at least 0, but for rounding.
    """
    size = variance.shape[0]
    row, left = factor[count], variance[pick]
    row[:] = 0.0
    pivots[count] = 1.0
    if left > floor[pick]:
        for t in range(count):
            weight, other = factor[t, pick] / pivots[t], factor[t]
            if weight != 0.0:
                for j in range(size):
                    row[j] += weight * other[j]
        mine = similarity[pick]
        for j in range(size):
            row[j] = float(mine[j]) - row[j]
        pivots[count] = row[pick] = left
        for j in range(size):
            variance[j] -= row[j] * row[j] / left
    variance[pick] = 0.0
    well = True
    for j in range(size):
        rounding = 1000.0 * floor[j]
        well = well and variance[j] >= -(rounding if rounding > worst else worst)
        remains[j] = 2.2250738585072014e-308 if variance[j] <= floor[j] else variance[j]
    return well
