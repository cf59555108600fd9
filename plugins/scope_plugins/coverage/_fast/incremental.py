"""Greedy on the CPU for coverage that keeps one group's gains up to date in compiled code (numba).

Per pick there are two calls: one chooses, one updates. Both do the arithmetic of the loop over `start`, `gain` and
`add`, or sums that are exact in any order, so picks, gains and scores are the loop's to the last bit.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.compiled import compiled
from scope_plugins.coverage._fast.ranked import why_not

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from scope_core import Picks, VisualTokens

    Group = tuple[np.ndarray, Callable[[int], None]]
    """(N,) float64 gains of one group, and what brings them up to date after a pick."""

S = TypeVar("S", bound=ComponentSpec)


class Incremental(CoverageFunction[S]):
    """Coverage with gains in float64 and a compiled way to keep them up to date."""

    @abstractmethod
    def groups(self, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Makes of a group's index and its number of picks the gains of the empty set, and their update.

        None where the two ways could differ, for numbers beyond what they share.
        """

    def picks(
        self, similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]
    ) -> Picks | None:
        """Greedy by compiled updates on the CPU, where numba is installed."""
        import numpy as np
        import torch

        from scope_core import Picks

        if not arithmetic.on_host(tokens.features) or self.why_no_picks(similarity):
            return None
        started = self.groups(similarity, tokens)
        if started is None:
            return None
        columns = [arrays(column) for column in (scale, offset, tokens.valid, tokens.required)]
        shape, choose = (len(keep), max(keep, default=0)), kernel()
        made, gains, scores = np.full(shape, -1), np.full(shape, np.nan), np.full(shape, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # the engine refuses what is no number
            for group, count in enumerate(keep):
                factor, added, valid, required = (column[group] for column in columns)
                (gain, add), left = started(group, count), valid.copy()
                musts = np.count_nonzero(valid & required)
                for step in range(count):
                    pick = choose(gain, factor, added, left, required, step < musts)
                    made[group, step], gains[group, step] = pick, gain[pick]
                    add(pick)
                chosen = made[group, :count]
                scores[group, :count] = gains[group, :count] * factor[chosen] + added[chosen]
        return Picks(*(torch.from_numpy(column) for column in (made, gains, scores)))

    def why_no_picks(self, similarity: Tensor) -> str:
        """No compiler, or half precision."""
        return why_not(similarity)


def arrays(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers, row by row; a view where it can be one."""
    made: np.ndarray = tensor.detach().contiguous().numpy()
    return made


@functools.cache
def kernel() -> Any:
    """The compiled choice."""
    return compiled(_choose)


def _choose(
    gain: np.ndarray, scale: np.ndarray, offset: np.ndarray, left: np.ndarray, required: np.ndarray, musts: bool
) -> int:
    """The lowest index of the highest score among those left, required ones first; it is left no longer."""
    pick, highest = -1, 0.0
    for j in range(gain.shape[0]):
        if left[j] and (required[j] or not musts):
            score = gain[j] * scale[j] + offset[j]
            if pick < 0 or score > highest:
                pick, highest = j, score
    left[pick] = False
    return pick
