"""Kernel of the log-determinant: one more row of its factor per pick, compiled (numba)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_plugins.coverage._fast.compiled import compiled
from scope_plugins.coverage._fast.incremental import Incremental, arrays

if TYPE_CHECKING:
    import numpy as np

    from scope_plugins.coverage._fast.incremental import Group


class LogDetKernel(Incremental):
    """Updates of gains that add the rows of the factor in the order of `LogDet.add`."""

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group]:
        """Gains and their update, ``log(variance)``.

        Raises:
            SpecError: as `LogDet.start` and `LogDet.add`.
        """
        import numpy as np

        state = coverage.start(similarity, tokens)
        matrices, gains = arrays(similarity), coverage.gain(state)

        def group(index: int, count: int) -> Group:
            variance, floor, gain = state.variance[index], state.floor[index], gains[index]
            remains = torch.empty_like(variance)
            factor, pivots = np.empty((count, len(variance))), np.empty(count)
            columns = [column.numpy() for column in (variance, floor, remains)]
            extend, worst, filled = kernel(), float(floor.amax()), iter(range(count))

            def add(pick: int) -> None:
                if not extend(matrices[index], factor, pivots, next(filled), *columns, worst, pick):
                    coverage.refuse("is not positive semi-definite")
                torch.log(remains, out=gain)  # other logarithms differ from torch's in the last bit

            return gain.numpy(), add

        return group


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
        factor: (K, N) float64, changed: ``count`` rows are filled, and this fills the next.
        pivots: (K,) float64, likewise.
        count: Picks so far.
        variance: (N,) float64, changed: each token's variance given the picks.
        floor: (N,) variances up to which only rounding errors are left.
        remains: (N,) out: the numbers whose logarithms are the gains.
        worst: The highest of ``floor``.
        pick: The token.

    Returns:
        True if every variance is at least 0, up to rounding.
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
        given = similarity[pick]
        for j in range(size):
            row[j] = float(given[j]) - row[j]
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
