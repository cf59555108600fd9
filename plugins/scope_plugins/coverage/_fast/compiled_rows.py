"""Compiled updates (numba) of gains of facility location: of rows of similarity, only those whose maximum rises."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.compiled import compiled

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from scope_plugins.coverage._fast.incremental import Group


def rounder(similarity: Tensor) -> float | None:
    """What `arithmetic.magic` says; None where numbers are too small for a grid, so that sums depend on their order."""
    made = float(arithmetic.magic(similarity))
    return made if made or not bool(similarity.any()) else None


def rising(rows: np.ndarray, rounder: float) -> Group:
    """Gains ``sum_i max(0, S_ij - c_i)`` and their update.

    Args:
        rows: (M, N): how well token j stands for what row i is.
        rounder: Of the grid that entries are rounded to.
    """
    import numpy as np

    gain, best = np.zeros(rows.shape[1]), np.zeros(rows.shape[0])
    start, rise = kernels()
    start(rows, rounder, gain)

    def add(pick: int) -> None:
        rise(rows, rounder, best, gain, pick)

    return gain, add


@functools.cache
def kernels() -> tuple[Any, Any]:
    """The compiled functions."""
    return compiled(_start), compiled(_rise)


def _start(rows: np.ndarray, rounder: float, gain: np.ndarray) -> None:
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(gain.shape[0]):
            value = (float(row[j]) + rounder) - rounder
            gain[j] += value if value > 0.0 else 0.0


def _rise(rows: np.ndarray, rounder: float, best: np.ndarray, gain: np.ndarray, pick: int) -> None:
    for i in range(rows.shape[0]):
        new, old = (float(rows[i, pick]) + rounder) - rounder, best[i]
        if new > old:
            best[i] = new
            row = rows[i]
            for j in range(gain.shape[0]):
                value = (float(row[j]) + rounder) - rounder
                risen = (value if value < new else new) - old
                gain[j] -= risen if risen > 0.0 else 0.0
