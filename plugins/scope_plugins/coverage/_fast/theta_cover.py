"""Kernel of theta-coverage: compiled updates (numba) of gains."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor

from scope_core import VisualTokens
from scope_plugins.coverage._fast.compiled import compiled
from scope_plugins.coverage._fast.incremental import Incremental, arrays

if TYPE_CHECKING:
    import numpy as np

    from scope_plugins.coverage._fast.incremental import Group


class ThetaCoverKernel(Incremental):
    """Updates of gains that read only rows of newly covered tokens."""

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group]:
        """The number of uncovered tokens that each token would cover, and the update."""
        coverage.check_theta(similarity)
        least = float(coverage.least(similarity))
        matrices, valid, (start, cover) = arrays(similarity), arrays(tokens.valid), kernels()

        def group(index: int, count: int) -> Group:
            import numpy as np

            matrix: np.ndarray = matrices[index]
            left, gain = valid[index].copy(), np.zeros(len(matrix))
            start(matrix, least, left, gain)

            def add(pick: int) -> None:
                cover(matrix, least, left, gain, pick)

            return gain, add

        return group


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
