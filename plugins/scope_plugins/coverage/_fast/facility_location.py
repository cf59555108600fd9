"""Kernel of facility location: compiled for the CPU and for CUDA, and without the matrix.

Similarities lie on a grid on which float64 sums are exact, so the order in which rows are subtracted changes no gain.
Only rows whose running maximum rises are touched: at K = 192 of N = 576 that is some 2,500 of 110,000. The matrix is
rounded to the grid as it is read, so that no copy of it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import frexp
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast import arithmetic, on_triton
from scope_plugins.coverage._fast.incremental import Incremental, arrays

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from scope_core import VisualTokens
    from scope_core.parts import Blocks, Picks
    from scope_plugins.coverage._fast.incremental import Group


class FacilityLocationKernel(Incremental):
    """Greedy in one compiled loop: numba's on the CPU (``pip install numba``), Triton's on CUDA."""

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """No compiler for that device."""
        if arithmetic.on_host(device):
            return super().why_not(coverage, device)
        return on_triton.why_not(device)

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Compiled updates, for `stacked`."""
        return rising_rows(similarity, similarity)

    def picks(
        self,
        coverage: Any,
        similarity: Tensor,
        tokens: VisualTokens,
        scale: Tensor,
        offset: Tensor,
        keep: Sequence[int],
    ) -> Picks | None:
        """All picks; None on the CPU for numbers that have no grid, whose sums depend on their order."""
        if not arithmetic.on_host(similarity.device):
            return on_triton.picks(similarity, tokens, scale, offset, keep)
        import numpy as np
        import torch

        from scope_core.parts import Picks
        from scope_plugins.coverage._fast import rounds

        step, largest = grid(similarity)
        if largest * similarity.shape[1] > 1e300 or (largest and not step):
            return None
        matrices, *columns = (arrays(one) for one in (similarity, tokens.valid, tokens.required, scale, offset))
        shape = (len(keep), max(keep, default=0))
        made = np.empty(shape, np.int64), np.empty(shape), np.empty(shape)
        for group, count in enumerate(keep):
            given, out = (column[group] for column in columns), (column[group] for column in made)
            rounds.greedy_rising(matrices[group], 1.5 * 2.0**52 * step, *given, count, *out)
        return Picks(*(torch.from_numpy(column) for column in made))

    def picks_in_blocks(
        self, coverage: Any, blocks: Blocks, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: int
    ) -> Picks:
        """Greedy in which only rows whose running maximum rises are computed again; all where most do."""
        import torch

        from scope_plugins.coverage._fast.in_blocks import greedy, rises

        best = torch.zeros_like(blocks.own)

        def after(pick: Tensor, gain: Tensor) -> Tensor:
            nonlocal best
            had, best = best, best.maximum(blocks.row(pick))
            risen = (best > had).nonzero()[:, 0]
            if 2 * len(risen) > len(best):  # every pair is computed once there, a risen row's with all
                return rises(blocks, best)
            for rows, columns, block in blocks.rows(risen):
                gain[columns] -= block.clamp_(max=best[rows, None]).sub_(had[rows, None]).clamp_(min=0).sum(0)
            return gain

        return greedy(rises(blocks, best), after, tokens, scale, offset, keep)


def grid(similarity: Tensor) -> tuple[float, float]:
    """The step of the grid of `arithmetic.magic`, and the largest absolute similarity.

    A step of 0 leaves numbers as they are.
    """
    import torch

    if not similarity.numel():
        return 0.0, 0.0
    similarity = similarity.detach()
    largest = max(float(similarity.amax()), -float(similarity.amin()))
    if largest == 0:
        return 0.0, 0.0
    step = 2.0 ** (frexp(largest)[1] + similarity.shape[-1].bit_length() - 52)
    # similarities of 1e-25 at most: nothing to round to
    return (0.0, largest) if step < torch.finfo(similarity.dtype).tiny else (step, largest)


def rounder(similarity: Tensor) -> float | None:
    """What `arithmetic.magic` says; None where numbers are too small for a grid, so that sums depend on their order."""
    made = float(arithmetic.magic(similarity))
    return made if made or not bool(similarity.any()) else None


def rising_rows(rows: Tensor, terms: Tensor) -> Callable[[int, int], Group] | None:
    """Gains ``sum_i max(0, S_ij - c_i)`` of each group and their update; None where sums depend on their order.

    Args:
        rows: (B, M, N): how well token j stands for what row i is.
        terms: Its numbers, as many in a row as are summed up: their grid is taken.
    """
    from scope_plugins.coverage._fast import rounds

    given = rounder(terms)
    if given is None:
        return None
    matrices = arrays(rows)

    def group(index: int, count: int) -> Group:
        import numpy as np

        mine: np.ndarray = matrices[index]
        gain, best = np.zeros(mine.shape[1]), np.zeros(mine.shape[0])
        rounds.cover(mine, given, gain)

        def add(pick: int) -> None:
            rounds.rise(mine, given, best, gain, pick)

        return gain, add

    return group
