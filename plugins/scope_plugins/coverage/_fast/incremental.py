"""Kernels on the CPU that keep one group's gains up to date in compiled code (numba): two calls for each pick."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from scope_core.parts import Kernel
from scope_plugins.coverage._fast import arithmetic, compiled

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from scope_core import VisualTokens
    from scope_core.parts import Picks

    Group = tuple[np.ndarray, Callable[[int], None]]
    """(N,) float64 gains of one group, and what brings them up to date after a pick."""


class OnHost(Kernel):
    """A kernel for the CPU, where numba is installed."""

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """Another device, or no compiler."""
        if not arithmetic.on_host(device):
            return f"it is compiled for the CPU only, and the tokens are on {device}"
        return "" if compiled.available() else compiled.NO_NUMBA


class Incremental(OnHost):
    """Gains in float64, and a compiled way to keep them up to date."""

    @abstractmethod
    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Makes of a group's index and its number of picks the gains of the empty set, and their update.

        None where the two ways could differ, for numbers beyond what they share.
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
        """One group after the other."""
        import numpy as np
        import torch

        from scope_core.parts import Picks
        from scope_plugins.coverage._fast.rounds import choose

        started = self.groups(coverage, similarity, tokens)
        if started is None:
            return None
        columns = [arrays(column) for column in (scale, offset, tokens.valid, tokens.required)]
        shape = (len(keep), max(keep, default=0))
        made, gains, scores = np.full(shape, -1), np.full(shape, np.nan), np.full(shape, np.nan)
        with np.errstate(over="ignore", invalid="ignore"):  # the engine refuses what is no number
            for group, count in enumerate(keep):
                factor, added, valid, required = (column[group] for column in columns)
                (gain, add), left, barred = started(group, count), valid.copy(), np.zeros(len(valid))
                first = np.count_nonzero(valid & required)
                for step in range(count):
                    pick = choose(step, first, gain, factor, added, left, required, barred)
                    made[group, step], gains[group, step] = pick, gain[pick]
                    add(pick)
                chosen = made[group, :count]
                scores[group, :count] = gains[group, :count] * factor[chosen] + added[chosen]
        return Picks(*(torch.from_numpy(column) for column in (made, gains, scores)))


def arrays(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers, row by row; a view where it can be one."""
    made: np.ndarray = tensor.detach().contiguous().numpy()
    return made
