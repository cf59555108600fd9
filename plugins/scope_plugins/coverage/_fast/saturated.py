"""Kernel of saturated coverage: compiled updates (numba) of gains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scope_core import VisualTokens
from scope_plugins.coverage._fast.arithmetic import grid_constant
from scope_plugins.coverage._fast.compiled import compiled
from scope_plugins.coverage._fast.incremental import Incremental, arrays

if TYPE_CHECKING:
    import numpy as np

    from scope_plugins.coverage._fast.incremental import Group


class SaturatedKernel(Incremental):
    """Updates of gains that read only rows lacking less than their highest similarity."""

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Gains ``sum_i min(S_ij, left_i)`` and their update."""
        constant = grid_constant(similarity)
        if constant is None:
            return None
        matrices, share, (start, lower) = arrays(similarity), coverage.spec.share, kernels()

        def group(index: int, count: int) -> Group:
            import numpy as np

            matrix: np.ndarray = matrices[index]
            gain, left, highest = np.zeros((3, len(matrix)))
            start(matrix, constant, constant / (1.5 * 2.0**52), share, gain, left, highest)

            def add(pick: int) -> None:
                lower(matrix, constant, highest, left, gain, pick)

            return gain, add

        return group


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
        old = left[i]
        new = old - ((float(similarity[i, pick]) + rounder) - rounder)
        new = new if new > 0.0 else 0.0
        left[i] = new
        if new < old and new < highest[i]:
            row = similarity[i]
            for j in range(gain.shape[0]):
                value = (float(row[j]) + rounder) - rounder
                gain[j] -= (value if value < old else old) - (value if value < new else new)
