"""Kernel for gains that change by one row or column of similarity: one compiled loop (numba), or block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Blocks, Picks
from scope_plugins.coverage._fast import compiled
from scope_plugins.coverage._fast.incremental import OnHost, arrays


@dataclass(frozen=True)
class Ranked(OnHost):
    """Picking p changes the gain of token j by ``v_j = constant + row * S_pj + column * S_jp``.

    Attributes:
        minimum: True if the gain becomes ``min(gain_j, v_j)``, after the first pick ``v_j``; else ``gain_j - v_j``.
        constant: 0 or 1.
        row: 0, 1 or -1.
        column: 0, 1 or -1.
    """

    minimum: bool
    constant: int = 0
    row: int = 0
    column: int = 0

    def first_in_blocks(self, coverage: Any, blocks: Blocks, tokens: VisualTokens) -> Tensor:
        """(N,) float64 gains of the empty set, for one group."""
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
        """All picks, in the precision of gains; None if ``scale`` or ``offset`` are more precise than gains."""
        if not compiled.available():
            return None
        from scope_plugins.coverage._fast import rounds

        gain = coverage.gain(coverage.start(similarity, tokens))
        narrow = [column.to(gain.dtype) for column in (scale, offset)]
        if not all(torch.equal(n.to(full.dtype), full) for n, full in zip(narrow, (scale, offset), strict=True)):
            return None
        shape = (len(keep), max(keep, default=0))
        picks = torch.full(shape, -1, device="cpu")
        gains, scores = (torch.full(shape, torch.nan, dtype=gain.dtype, device="cpu") for _ in range(2))
        inputs = (similarity, gain, tokens.valid, tokens.required, *narrow)
        columns = [arrays(tensor) for tensor in (*inputs, picks, gains, scores)]
        exact = columns[1].dtype.type  # constants in the gains' dtype, so that all is computed in it
        weights = exact(self.constant), exact(self.row), exact(self.column)

        def select(group: int) -> None:
            rounds.greedy_changing(*(column[group] for column in columns), self.minimum, *weights, keep[group])

        compiled.for_each(select, len(keep), max(keep, default=0) * similarity.shape[1] * len(keep))
        return Picks(picks, gains, scores)

    def picks_in_blocks(
        self, coverage: Any, blocks: Blocks, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: int
    ) -> Picks:
        """Greedy selection that computes one row of similarities per pick."""
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
