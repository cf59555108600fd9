"""Kernels for the CPU that update one group's gains in compiled code (numba), with two calls per pick."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Kernel, Picks
from scope_plugins.coverage._fast import arithmetic, compiled

if TYPE_CHECKING:
    import numpy as np

    Group = tuple[np.ndarray, Callable[[int], None]]
    """(N,) float64 gains of one group, and the function that updates them after a pick."""


class OnHost(Kernel):
    """A kernel for the CPU; needs numba."""

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """The reason: another device, or no compiler; empty if the kernel can run."""
        if not arithmetic.on_host(device):
            return f"it is compiled for the CPU only, but the tokens are on {device}"
        return "" if compiled.installed() else compiled.NO_NUMBA


class Incremental(OnHost):
    """Gains in float64 with a compiled update."""

    @abstractmethod
    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """A function of a group's index and its number of picks: the gains of the empty set, and their update.

        None if compiled gains could differ from those of `CoverageFunction.gain` for these numbers.
        """

    def picks(
        self,
        coverage: Any,
        similarity: Tensor,
        tokens: VisualTokens,
        scale: Tensor,
        offset: Tensor,
        keep: Sequence[int],
    ) -> Picks | None:
        """All picks, one group after the other; None if `groups` is None, or numba cannot be imported."""
        if not compiled.available():
            return None
        import numpy as np

        from scope_plugins.coverage._fast.rounds import choose

        started = self.groups(coverage, similarity, tokens)
        if started is None:
            return None
        columns = [arrays(column) for column in (scale, offset, tokens.valid, tokens.required)]
        shape = (len(keep), max(keep, default=0))
        picks, gains, scores = np.full(shape, -1), np.full(shape, np.nan), np.full(shape, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # the engine refuses NaN
            for group, count in enumerate(keep):
                factor, added, valid, required = (column[group] for column in columns)
                (gain, add), left, barred = started(group, count), valid.copy(), np.zeros(len(valid))
                first = np.count_nonzero(valid & required)
                for step in range(count):
                    pick = choose(step, first, gain, factor, added, left, required, barred)
                    picks[group, step], gains[group, step] = pick, gain[pick]
                    add(pick)
                chosen = picks[group, :count]
                scores[group, :count] = gains[group, :count] * factor[chosen] + added[chosen]
        return Picks(*(torch.from_numpy(column) for column in (picks, gains, scores)))


def arrays(tensor: Tensor) -> np.ndarray:
    """The tensor as a contiguous array; a view if possible."""
    array: np.ndarray = tensor.detach().contiguous().numpy()
    return array
