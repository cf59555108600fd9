"""Kernel of facility location: compiled for CPU and CUDA, or block by block without the whole matrix.

Similarities are rounded to a grid on which float64 sums are exact, so that the order in which rows are subtracted
changes no gain. They are rounded as they are read, without a copy of the matrix. Only rows whose running maximum rises
are read: for K = 192 of N = 576, about 2,500 of 110,000.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Blocks, Picks
from scope_plugins.coverage._fast import arithmetic, compiled, on_triton
from scope_plugins.coverage._fast.arithmetic import grid as grid  # `scope bench speed` times it by the name it has here
from scope_plugins.coverage._fast.arithmetic import grid_constant
from scope_plugins.coverage._fast.in_torch import FacilityLocationInTorch
from scope_plugins.coverage._fast.incremental import Incremental, arrays

if TYPE_CHECKING:
    import numpy as np

    from scope_plugins.coverage._fast.incremental import Group


class FacilityLocationKernel(Incremental):
    """Greedy selection in one compiled loop: numba on the CPU (``pip install numba``), Triton on CUDA.

    Attributes:
        by_rows: True to read a pick's row in place of its column. Of 2,880 tokens, columns take most of the time: each
            number is in another line of the cache.
    """

    by_rows = False
    instead = FacilityLocationInTorch()

    @cached_property
    def mirrored(self) -> FacilityLocationKernel:  # type: ignore[override]  # read only
        """This kernel, by rows."""
        twin = copy(self)
        twin.by_rows = True
        return twin

    def why_not(self, coverage: Any, device: torch.device) -> str:
        """The reason why there is no compiler for the device; empty if there is one."""
        if arithmetic.on_host(device):
            return super().why_not(coverage, device)
        return on_triton.why_not(device)

    def groups(self, coverage: Any, similarity: Tensor, tokens: VisualTokens) -> Callable[[int, int], Group] | None:
        """Compiled updates of gains, for `stacked`."""
        similarity = coverage.weighted(similarity, tokens)
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
        """All picks; None on the CPU for numbers without a grid, whose sums depend on their order."""
        similarity = coverage.weighted(similarity, tokens)
        if not arithmetic.on_host(similarity.device):
            return on_triton.picks(similarity, tokens, scale, offset, keep)
        if not compiled.available():
            return None
        import numpy as np

        from scope_plugins.coverage._fast import rounds

        constant = grid_constant(similarity)
        if constant is None:
            return None
        matrices, *inputs = (arrays(tensor) for tensor in (similarity, tokens.valid, tokens.required, scale, offset))
        by_rows = self.by_rows and coverage.spec.weights is None  # weighted rows are no columns
        shape = (len(keep), max(keep, default=0))
        outputs = np.empty(shape, np.int64), np.empty(shape), np.empty(shape)

        def select(group: int) -> None:
            given, out = (array[group] for array in inputs), (array[group] for array in outputs)
            rounds.greedy_rising(matrices[group], by_rows, constant, *given, keep[group], *out)

        compiled.for_each(select, len(keep), similarity.numel())
        return Picks(*(torch.from_numpy(array) for array in outputs))

    def picks_in_blocks(
        self, coverage: Any, blocks: Blocks, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: int
    ) -> Picks:
        """Greedy selection that computes rows again only if their running maximum rises, or all rows if most do."""
        from scope_plugins.coverage._fast.in_blocks import full_gains, greedy

        best = torch.zeros_like(blocks.own)
        weights = None
        if coverage.spec.weights is not None:  # (N,): the column of weights of a matrix of ones
            ones = torch.ones_like(blocks.own)[None, :, None]
            weights = coverage.weighted(ones, tokens)[0, :, 0]

        def after(pick: Tensor, gain: Tensor) -> Tensor:
            nonlocal best
            row = blocks.row(pick)
            old, best = best, best.maximum(row if weights is None else row.mul_(weights))
            risen = (best > old).nonzero()[:, 0]
            if 2 * len(risen) > len(best):  # all gains need every pair once, which is then less work
                return full_gains(blocks, best, weights)
            for rows, columns, block in blocks.rows(risen):
                block = block if weights is None else block.mul_(weights[rows, None])
                gain[columns] -= block.clamp_(max=best[rows, None]).sub_(old[rows, None]).clamp_(min=0).sum(0)
            return gain

        return greedy(full_gains(blocks, best, weights), after, tokens, scale, offset, keep)


def rising_rows(rows: Tensor, terms: Tensor) -> Callable[[int, int], Group] | None:
    """Gains ``sum_i max(0, S_ij - c_i)`` of each group and their update; None where sums depend on their order.

    Args:
        rows: (B, M, N) similarity of row i to token j.
        terms: The same numbers, arranged so that the last axis holds the terms of each sum; they define the grid.
    """
    from scope_plugins.coverage._fast import rounds

    constant = grid_constant(terms)
    if constant is None:
        return None
    matrices = arrays(rows)

    def group(index: int, count: int) -> Group:
        import numpy as np

        matrix: np.ndarray = matrices[index]
        gain, best = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[0])
        rounds.cover(matrix, constant, gain)

        def add(pick: int) -> None:
            rounds.rise(matrix, matrix[:, pick], constant, best, gain)

        return gain, add

    return group
