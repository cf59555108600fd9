"""Greedy for one group whose similarities are computed when they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Blocks, Picks, VisualTokens


def greedy(
    gain: Tensor,
    after: Callable[[Tensor, Tensor], Tensor],
    tokens: VisualTokens,
    scale: Tensor,
    offset: Tensor,
    keep: int,
) -> Picks:
    """Rounds of argmax; ties break to the lowest index, required tokens come before the others.

    Args:
        gain: (N,) float64 gains of the empty set.
        after: Makes (N,) gains of a pick, (1,) int64, and the gains before it.
        tokens: (1, N), as are those that follow.
        scale: (1, N) float64 of the score ``gain * scale + offset``.
        offset: (1, N) float64.
        keep: How many to pick.
    """
    import torch

    from scope_core import Picks

    left, required = tokens.valid[0].clone(), tokens.required[0] & tokens.valid[0]
    musts = int(required.sum()) if keep else 0
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(keep):
        score = (gain * scale[0] + offset[0]).masked_fill(~(left & required if step < musts else left), -torch.inf)
        pick = score.argmax().view(1)
        made.append((pick, gain[pick], score[pick]))
        left.index_fill_(0, pick, False)
        if step + 1 < keep:
            gain = after(pick, gain)
    if not made:
        empty = gain.new_zeros((1, 0))
        return Picks(empty.to(torch.int64), empty, empty)
    picks, gains, scores = (torch.cat(column)[None] for column in zip(*made, strict=True))
    return Picks(picks, gains, scores)


def rises(blocks: Blocks, best: Tensor) -> Tensor:
    """(N,) ``sum_i max(0, S_ij - c_i)``; every pair of tokens is computed once.

    Args:
        blocks: The similarities.
        best: (N,) running maximum ``c_i``, at least 0.
    """
    total = best.new_zeros(best.shape)
    for rows, columns, block in blocks.triangle():
        total[columns] += (block - best[rows, None]).clamp_(min=0).sum(0)
        if rows != columns:
            total[rows] += block.sub_(best[columns]).clamp_(min=0).sum(1)
    return total
