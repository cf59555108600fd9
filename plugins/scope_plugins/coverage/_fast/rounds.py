"""Compiled code (numba) shared by kernels on the CPU: one round of greedy selection, and loops of such rounds.

Imported only if numba is installed. Every operation is that of the loop over `start`, `gain` and `add`, in the same
dtype and order, or a sum that is exact in any order: picks, gains and scores agree with the loop to the last bit.
"""

from __future__ import annotations

from math import inf, nan

import numpy as np

from scope_plugins.coverage._fast.compiled import compiled


@compiled
def choose(
    step: int,
    first: int,
    gain: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    left: np.ndarray,
    required: np.ndarray,
    barred: np.ndarray,
) -> int:
    """The lowest index of the highest score ``gain * scale + offset`` among those left, required ones first.

    Args:
        step: Picks so far.
        first: Number of tokens that must be picked before the others.
        gain: (N,) float.
        scale: (N,) finite.
        offset: (N,) finite.
        left: (N,) bool, changed: tokens that are candidates still.
        required: (N,) bool: candidates that must be picked first.
        barred: (N,) float, changed: 0 for tokens that can be picked in this round; kept between rounds.
    """
    size = gain.shape[0]
    if step in (0, first):
        for j in range(size):
            barred[j] = 0.0 if left[j] and (required[j] or step >= first) else 1.0
    highest = -inf
    for j in range(size):
        score = gain[j] * scale[j] + offset[j] if barred[j] == 0.0 else -inf
        highest = score if score > highest else highest
    pick = 0
    while pick < size - 1 and (barred[pick] != 0.0 or gain[pick] * scale[pick] + offset[pick] != highest):
        pick += 1
    left[pick], barred[pick] = False, 1.0
    return pick


@compiled
def cover(rows: np.ndarray, rounder: float, gain: np.ndarray) -> None:
    """Add ``sum_i max(0, S_ij)`` to ``gain`` (N,) for rows (M, N) of similarity, rounded to the grid."""
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(gain.shape[0]):
            value = (float(row[j]) + rounder) - rounder
            gain[j] += value if value > 0.0 else 0.0


@compiled
def _lower(row: np.ndarray, rounder: float, old: float, new: float, gain: np.ndarray) -> None:
    """Take from the gains (N,) what one row no longer adds. As a function of its own it is compiled to faster code."""
    for j in range(gain.shape[0]):
        value = (float(row[j]) + rounder) - rounder
        risen = (value if value < new else new) - old
        gain[j] -= risen if risen > 0.0 else 0.0


@compiled
def _lower_by_four(rows: np.ndarray, at: np.ndarray, old: np.ndarray, new: np.ndarray, gain: np.ndarray) -> None:
    """`_lower` for four rows of float32, which need no rounding: their numbers of ``old`` or more are on the grid.

    Eight numbers are compared at a time instead of four, and gains are read and written once for four rows.
    """
    a, b, c, d = rows[at[0]], rows[at[1]], rows[at[2]], rows[at[3]]
    old_a, old_b, old_c, old_d = np.float32(old[0]), np.float32(old[1]), np.float32(old[2]), np.float32(old[3])
    new_a, new_b, new_c, new_d = np.float32(new[0]), np.float32(new[1]), np.float32(new[2]), np.float32(new[3])
    before = (old[0] + old[1]) + (old[2] + old[3])
    for j in range(gain.shape[0]):
        now_a, now_b = min(max(a[j], old_a), new_a), min(max(b[j], old_b), new_b)
        now_c, now_d = min(max(c[j], old_c), new_c), min(max(d[j], old_d), new_d)
        first, second = np.float64(now_a) + np.float64(now_b), np.float64(now_c) + np.float64(now_d)
        gain[j] -= (first + second) - before


@compiled
def rise(rows: np.ndarray, column: np.ndarray, rounder: float, best: np.ndarray, gain: np.ndarray) -> None:
    """Update gains ``sum_i max(0, S_ij - best_i)`` after a pick, whose column is given.

    Only rows whose maximum rises are read, four at a time where they can be.
    """
    # the step of the grid is rounder / (1.5 * 2^52); every float32 number of at least 2^24 steps is a multiple of it
    exact_from = rounder * (2.0**-28 / 1.5) if rows.itemsize == 4 else inf
    at, before, after, waiting = np.empty(4, np.int64), np.empty(4), np.empty(4), 0
    for i in range(rows.shape[0]):
        new, old = (float(column[i]) + rounder) - rounder, best[i]
        if new > old:
            best[i] = new
            if old < exact_from:
                _lower(rows[i], rounder, old, new, gain)
            else:
                at[waiting], before[waiting], after[waiting] = i, old, new
                waiting += 1
                if waiting == 4:
                    _lower_by_four(rows, at, before, after, gain)
                    waiting = 0
    for k in range(waiting):
        _lower(rows[at[k]], rounder, before[k], after[k], gain)


@compiled
def greedy_rising(
    similarity: np.ndarray,
    by_rows: bool,
    rounder: float,
    valid: np.ndarray,
    required: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    count: int,
    picks: np.ndarray,
    gains: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Fill ``picks``, ``gains`` and ``scores`` (K,) of one group for facility location.

    Args:
        similarity: (N, N) similarity of token i to token j.
        by_rows: True to read a pick's row in place of its column, for similarities that are the same both ways.
        rounder: `arithmetic.rounding_constant`; 0 means no rounding.
        valid: (N,) bool: candidates.
        required: (N,) bool: candidates that must be picked first.
        scale: (N,) float64 of a score ``gain * scale + offset``, finite.
        offset: (N,) float64, finite.
        count: Number of picks.
        picks: (K,) int64, out; -1 from ``count`` on.
        gains: (K,) float64, out; NaN from ``count`` on.
        scores: (K,) float64, out; likewise.
    """
    picks[count:], gains[count:], scores[count:] = -1, nan, nan
    gain, best, barred, left = offset * 0.0, offset * 0.0, offset * 0.0, valid.copy()
    first = np.count_nonzero(valid & required)
    cover(similarity, rounder, gain)
    for step in range(count):
        pick = choose(step, first, gain, scale, offset, left, required, barred)
        picks[step], gains[step], scores[step] = pick, gain[pick], gain[pick] * scale[pick] + offset[pick]
        if by_rows:
            rise(similarity, similarity[pick], rounder, best, gain)
        else:
            rise(similarity, similarity[:, pick], rounder, best, gain)


@compiled
def greedy_changing(
    similarity: np.ndarray,
    start: np.ndarray,
    valid: np.ndarray,
    required: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    picks: np.ndarray,
    gains: np.ndarray,
    scores: np.ndarray,
    minimum: bool,
    constant: float,
    of_row: float,
    of_column: float,
    count: int,
) -> None:
    """Fill ``picks``, ``gains`` and ``scores`` (K,) of one group, for gains that change by a pick's row and column.

    Args:
        similarity: (N, N).
        start: (N,) gains of the empty set.
        valid: (N,) bool: candidates.
        required: (N,) bool: candidates that must be picked first.
        scale: (N,) in the dtype of gains, as are all numbers below.
        offset: (N,).
        picks: (K,) int64, out.
        gains: (K,) out.
        scores: (K,) out.
        minimum: As in `ranked.Ranked`.
        constant: As in `ranked.Ranked`.
        of_row: ``row`` in `ranked.Ranked`.
        of_column: ``column`` in `ranked.Ranked`.
        count: Number of picks.
    """
    size = start.shape[0]
    gain, left, barred = start.copy(), valid.copy(), start * 0
    first = np.count_nonzero(valid & required)
    for step in range(count):
        pick = choose(step, first, gain, scale, offset, left, required, barred)
        picks[step], gains[step], scores[step] = pick, gain[pick], gain[pick] * scale[pick] + offset[pick]
        row, column = similarity[pick], similarity[:, pick]
        for j in range(size):
            value = constant + of_row * row[j]
            if of_column != 0:
                value += of_column * column[j]
            if not minimum:
                gain[j] -= value
            elif step == 0 or value < gain[j]:
                gain[j] = value
