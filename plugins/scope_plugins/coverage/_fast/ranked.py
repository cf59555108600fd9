"""Kernel for coverage whose gains one row or column of similarity changes: one compiled loop (numba), or blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scope_plugins.coverage._fast.incremental import OnHost, arrays

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens
    from scope_core.parts import Blocks, Picks


@dataclass(frozen=True)
class Ranked(OnHost):
    """Picking p changes the gain of token j by ``v_j = constant + row * S_pj + column * S_jp``.

    Attributes:
        minimum: Whether it becomes ``min(gain_j, v_j)``, for the first pick ``v_j``; else ``gain_j - v_j``.
        constant: 0 or 1.
        row: 0, 1 or -1.
        column: 0, 1 or -1.
    """

    minimum: bool
    constant: int = 0
    row: int = 0
    column: int = 0

    def first_in_blocks(self, coverage: Any, blocks: Blocks, tokens: VisualTokens) -> Tensor:
        """(N,) float64 gains of the empty set of one group."""
        return blocks.own.new_zeros(blocks.own.shape)

    def picks(
        self,
        coverage: Any,
        similarity: Tensor,
        tokens: VisualTokens,
        scale: Tensor,
        offset: Tensor,
        keep: Sequence[int],
    ) -> Picks | None:
        """In the precision of gains; None where ``scale`` or ``offset`` are more precise, as the loop then is."""
        import torch

        from scope_core.parts import Picks
        from scope_plugins.coverage._fast import rounds

        gain = coverage.gain(coverage.start(similarity, tokens))
        narrow = [column.to(gain.dtype) for column in (scale, offset)]
        if not all(torch.equal(one.to(whole.dtype), whole) for one, whole in zip(narrow, (scale, offset), strict=True)):
            return None
        shape = (len(keep), max(keep, default=0))
        made = torch.full(shape, -1, device="cpu")
        gains, scores = (torch.full(shape, torch.nan, dtype=gain.dtype, device="cpu") for _ in range(2))
        read = (similarity, gain, tokens.valid, tokens.required, *narrow)
        columns = [arrays(tensor) for tensor in (*read, made, gains, scores)]
        exact = columns[1].dtype.type  # constants of the gains' dtype: nothing is computed in another
        weights = exact(self.constant), exact(self.row), exact(self.column)
        for group, count in enumerate(keep):
            rounds.greedy_changing(*(column[group] for column in columns), self.minimum, *weights, count)
        return Picks(made, gains, scores)

    def picks_in_blocks(
        self, coverage: Any, blocks: Blocks, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: int
    ) -> Picks:
        """Greedy that reads one row of similarities for each pick."""
        from scope_plugins.coverage._fast.in_blocks import greedy

        fresh = True

        def after(pick: Tensor, gain: Tensor) -> Tensor:
            nonlocal fresh
            value = self.constant + (self.row + self.column) * blocks.row(pick)
            replaced, fresh = fresh, False
            if not self.minimum:
                return gain - value
            return value if replaced else gain.minimum(value)

        return greedy(self.first_in_blocks(coverage, blocks, tokens), after, tokens, scale, offset, keep)
