"""Greedy facility location in one compiled loop (numba): the same picks as step by step, to the last tie.

Similarities lie on a grid on which float64 sums are exact, so the order in which rows are subtracted changes no gain.
Only rows whose running maximum rises are touched: at K = 192 of N = 576 that is some 2,500 of 110,000.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def available() -> bool:
    """Whether numba is installed; nothing is imported."""
    from importlib.util import find_spec

    return find_spec("numba") is not None


@functools.cache
def kernel() -> Any:
    """The compiled loop; compiled when first called, and kept on disk by numba where it can."""
    import numba

    try:
        return numba.njit(cache=True, nogil=True, fastmath=False)(_greedy)
    except RuntimeError:  # neither beside this file nor in a user's folder can be written
        return numba.njit(nogil=True, fastmath=False)(_greedy)


def _greedy(
    similarity: np.ndarray,
    level: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    picks: np.ndarray,
    gains: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Fill ``picks``, ``gains`` and ``scores`` (K,) of one group.

    Args:
        similarity: (N, N): how well token j stands for token i, on the grid.
        level: (N,) int8: 2 for tokens that must be picked first, 1 for candidates, 0 for none.
        scale: (N,) float64 of a score ``gain * scale + offset``.
        offset: (N,) float64.
        picks: (K,) int64, out; -1 from where no score is a number.
        gains: (K,) float64, out.
        scores: (K,) float64, out.
    """
    count = similarity.shape[0]
    gain = offset * 0.0
    best = similarity[0] * 0
    left = level.copy()
    for i in range(count):
        for j in range(count):
            value = similarity[i, j]
            gain[j] += value if value > 0 else 0.0
    first = 0
    for j in range(count):
        first += left[j] == 2
    for step in range(picks.shape[0]):
        wanted = 2 if step < first else 1
        pick, highest = -1, 0.0
        for j in range(count):
            score = gain[j] * scale[j] + offset[j]
            if left[j] == wanted and (pick < 0 or score > highest):
                pick, highest = j, score
        picks[step] = pick
        if pick < 0 or highest != highest:
            picks[step] = -1
            return
        gains[step], scores[step] = gain[pick], highest
        left[pick] = 0
        for i in range(count):
            new, old = similarity[i, pick], best[i]
            if new > old:
                best[i] = new
                row, low = similarity[i], gain[0] * 0.0 + old  # float64: a difference need not fit float32
                for j in range(count):
                    value = row[j]
                    risen = (value if value < new else new) - low
                    gain[j] -= risen if risen > 0 else 0.0
