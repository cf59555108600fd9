"""Compiled updates (numba) of gains of theta-coverage: only rows of tokens that become covered."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast.compiled import compiled

if TYPE_CHECKING:
    import numpy as np

    from scope_plugins.coverage._fast.incremental import Group


def covering(similarity: np.ndarray, least: float, valid: np.ndarray) -> Group:
    """How many tokens each would be the first to cover, and the update.

    Args:
        similarity: (N, N).
        least: From which on a token counts as covered.
        valid: (N,) bool: tokens that are to be covered.
    """
    import numpy as np

    left, gain = valid.copy(), np.zeros(len(similarity))
    start, cover = kernels()
    start(similarity, least, left, gain)

    def add(pick: int) -> None:
        cover(similarity, least, left, gain, pick)

    return gain, add


@functools.cache
def kernels() -> tuple[Any, Any]:
    """The compiled functions."""
    return compiled(_start), compiled(_cover)


def _start(similarity: np.ndarray, least: float, left: np.ndarray, gain: np.ndarray) -> None:
    for i in range(gain.shape[0]):
        if left[i]:
            row = similarity[i]
            for j in range(gain.shape[0]):
                gain[j] += 1.0 if float(row[j]) >= least else 0.0


def _cover(similarity: np.ndarray, least: float, left: np.ndarray, gain: np.ndarray, pick: int) -> None:
    for i in range(gain.shape[0]):
        if left[i] and float(similarity[i, pick]) >= least:
            left[i] = False
            row = similarity[i]
            for j in range(gain.shape[0]):
                gain[j] -= 1.0 if float(row[j]) >= least else 0.0
