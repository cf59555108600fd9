"""Greedy selection for one group, computing similarities as they are read."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from scope_core import VisualTokens, take_turns
from scope_core.parts import Blocks, Picks


def greedy(
    gain: Tensor,
    after: Callable[[Tensor, Tensor], Tensor],
    tokens: VisualTokens,
    scale: Tensor,
    offset: Tensor,
    keep: int,
) -> Picks:
    """Greedy selection with gains that are updated after each pick.

    Args:
        gain: (N,) float64 gains of the empty set.
        after: Returns the (N,) gains after a pick, given the pick, (1,) int64, and the gains before it.
        tokens: (1, N).
        scale: (1, N) float64 of the score ``gain * scale + offset``.
        offset: (1, N) float64.
        keep: Number of picks.
    """
    pending: list[Tensor] = []

    def scored() -> tuple[Tensor, Tensor]:
        nonlocal gain
        gain = after(pending.pop(), gain) if pending else gain  # updated only when needed: not after the last pick
        return gain[None], gain * scale + offset

    return take_turns(tokens, [keep], scored, pending.append)


def full_gains(blocks: Blocks, best: Tensor, weights: Tensor | None = None) -> Tensor:
    """(N,) ``sum_i max(0, w_i S_ij - c_i)``; every pair of tokens is computed once.

    Args:
        blocks: The similarities.
        best: (N,) running maximum ``c_i``, at least 0.
        weights: (N,) weight of each row; all 1 if left out.
    """
    total = best.new_zeros(best.shape)
    for rows, columns, block in blocks.triangle():
        down = block if weights is None else block * weights[rows, None]
        total[columns] += (down - best[rows, None]).clamp_(min=0).sum(0)
        if rows != columns:
            block = block if weights is None else block.mul_(weights[columns])
            total[rows] += block.sub_(best[columns]).clamp_(min=0).sum(1)
    return total
