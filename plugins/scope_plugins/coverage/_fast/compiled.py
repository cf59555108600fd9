"""Greedy facility location in one compiled loop (numba): the same picks as step by step, to the last tie.

Similarities lie on a grid on which float64 sums are exact, so the order in which rows are subtracted changes no gain.
Only rows whose running maximum rises are touched: at K = 192 of N = 576 that is some 2,500 of 110,000. The matrix is
rounded to the grid as it is read, so that no copy of it is made.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from scope_core import Picks, VisualTokens


NO_NUMBA = "numba is not installed, or cannot be imported; pip install --upgrade numba"


@functools.cache
def available() -> bool:
    """Whether numba is there and can be imported, which releases of NumPy that it does not know prevent."""
    try:
        import numba  # noqa: F401
    except Exception:  # whatever keeps it from being imported, the loop needs none of it
        return False
    return True


def picks(
    similarity: Tensor,
    tokens: VisualTokens,
    scale: Tensor,
    offset: Tensor,
    keep: Sequence[int],
    grid: tuple[float, float],
) -> Picks | None:
    """As ``CoverageFunction.picks``; None where a score is no number, which the loop then says.

    Args:
        similarity: (B, N, N) as for ``CoverageFunction.picks``, as are those that follow.
        tokens: (B, N).
        scale: (B, N) float64.
        offset: (B, N) float64.
        keep: Picks of each group.
        grid: Step of the grid, and the largest absolute similarity.
    """
    import numpy as np
    import torch

    from scope_core import Picks

    step, largest = grid
    if largest * similarity.shape[1] > 1e300 or (largest and not step):  # no grid: sums depend on their order
        return None
    given = similarity, tokens.valid, tokens.required, scale, offset
    matrices, *columns = (tensor.detach().contiguous().numpy() for tensor in given)
    shape = (len(keep), max(keep, default=0))
    made, gains, scores = np.empty(shape, np.int64), np.empty(shape), np.empty(shape)
    run = kernel()
    for group, count in enumerate(keep):
        read, written = (column[group] for column in columns), (made[group], gains[group], scores[group])
        if run(matrices[group], 1.5 * 2.0**52 * step, *read, count, *written) < count:
            return None
    return Picks(*(torch.from_numpy(column) for column in (made, gains, scores)))


@functools.cache
def kernel() -> Any:
    """The compiled loop; compiled when first called."""
    return compiled(_greedy)


def compiled(function: Any) -> Any:
    """The function as machine code, which numba keeps on disk where it can."""
    import numba

    # no NaN gets here and the sign of a zero does not matter, so a maximum can be found several numbers at a time;
    # sums are left in their order
    options: dict[str, Any] = {"nogil": True, "fastmath": {"nnan", "nsz"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither beside this file nor in a user's folder can be written
        return numba.njit(**options)(function)


def _greedy(
    similarity: np.ndarray,
    rounder: float,
    valid: np.ndarray,
    required: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    count: int,
    picks: np.ndarray,
    gains: np.ndarray,
    scores: np.ndarray,
) -> int:
    """Fill ``picks``, ``gains`` and ``scores`` (K,) of one group.

    Args:
        similarity: (N, N): how well token j stands for token i.
        rounder: 1.5 * 2^52 steps of the grid: adding and subtracting it rounds to the grid. 0 leaves numbers alone.
        valid: (N,) bool: candidates.
        required: (N,) bool: those among them that must be picked first.
        scale: (N,) float64 of a score ``gain * scale + offset``, finite.
        offset: (N,) float64, finite.
        count: How many to pick.
        picks: (K,) int64, out; -1 from ``count`` on.
        gains: (K,) float64, out; NaN from ``count`` on.
        scores: (K,) float64, out; likewise.

    Returns:
        How many were picked: fewer than ``count`` if a score is beyond all numbers.
    """
    size = similarity.shape[0]
    picks[count:], gains[count:], scores[count:] = -1, nan, nan
    gain, best, barred = offset * 0.0, offset * 0.0, offset * 0.0
    left = valid.copy()
    first, lowest = 0, -1.7976931348623157e308
    for i in range(size):
        row = similarity[i]
        for j in range(size):
            value = (float(row[j]) + rounder) - rounder
            gain[j] += value if value > 0.0 else 0.0
        first += valid[i] and required[i]
    for step in range(count):
        if step in (0, first):
            for j in range(size):
                barred[j] = 0.0 if left[j] and (required[j] or step >= first) else 1.0
        highest = lowest
        for j in range(size):
            score = gain[j] * scale[j] + offset[j] if barred[j] == 0.0 else lowest
            highest = score if score > highest else highest
        pick = 0
        while pick < size and (barred[pick] != 0.0 or gain[pick] * scale[pick] + offset[pick] != highest):
            pick += 1
        if pick == size:
            return step
        picks[step], gains[step], scores[step] = pick, gain[pick], highest
        left[pick], barred[pick] = False, 1.0
        for i in range(size):
            new, old = (float(similarity[i, pick]) + rounder) - rounder, best[i]
            if new > old:
                best[i] = new
                row = similarity[i]
                for j in range(size):
                    value = (float(row[j]) + rounder) - rounder
                    risen = (value if value < new else new) - old
                    gain[j] -= risen if risen > 0.0 else 0.0
    return count
