"""Compiled updates (numba) of gains of saturated coverage: only rows that lack less than their highest similarity."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast.compiled import compiled

if TYPE_CHECKING:
    import numpy as np

    from scope_plugins.coverage._fast.incremental import Group


def lowering(similarity: np.ndarray, rounder: float, share: float) -> Group:
    """Gains ``sum_i min(S_ij, left_i)`` and their update.

    Args:
        similarity: (N, N), at least 0.
        rounder: Of the grid that entries are rounded to.
        share: ``left_i`` at first, of row i's sum.
    """
    import numpy as np

    gain, left, highest = np.zeros((3, len(similarity)))
    step = rounder / (1.5 * 2.0**52)
    start, lower = kernels()
    start(similarity, rounder, step, share, gain, left, highest)

    def add(pick: int) -> None:
        lower(similarity, rounder, highest, left, gain, pick)

    return gain, add


@functools.cache
def kernels() -> tuple[Any, Any]:
    """The compiled functions."""
    return compiled(_start), compiled(_lower)


def _start(
    similarity: np.ndarray,
    rounder: float,
    step: float,
    share: float,
    gain: np.ndarray,
    left: np.ndarray,
    highest: np.ndarray,
) -> None:
    for i in range(similarity.shape[0]):
        row, total, most = similarity[i], 0.0, 0.0
        for j in range(gain.shape[0]):
            value = (float(row[j]) + rounder) - rounder
            total += value
            most = value if value > most else most
        cap = share * total
        left[i], highest[i] = round(cap / step) * step if step > 0.0 else cap, most
        for j in range(gain.shape[0]):
            value = (float(row[j]) + rounder) - rounder
            gain[j] += value if value < left[i] else left[i]


def _lower(
    similarity: np.ndarray, rounder: float, highest: np.ndarray, left: np.ndarray, gain: np.ndarray, pick: int
) -> None:
    for i in range(similarity.shape[0]):
        had = left[i]
        now = had - ((float(similarity[i, pick]) + rounder) - rounder)
        now = now if now > 0.0 else 0.0
        left[i] = now
        if now < had and now < highest[i]:
            row = similarity[i]
            for j in range(gain.shape[0]):
                value = (float(row[j]) + rounder) - rounder
                gain[j] -= (value if value < had else had) - (value if value < now else now)
