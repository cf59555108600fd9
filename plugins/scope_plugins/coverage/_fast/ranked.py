"""Greedy in one compiled loop (numba) for coverage whose gains one row or column of similarity changes.

Every step is arithmetic of the loop over `start`, `gain` and `add` in the same dtype and order: the same picks, gains
and scores to the last bit.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast.compiled import NO_NUMBA, available, compiled

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from scope_core import Blocks, Picks, VisualTokens


@dataclass(frozen=True)
class Change:
    """What picking p does: ``v_j = constant + row * S_pj + column * S_jp`` changes the gain of token j.

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


S = TypeVar("S", bound=ComponentSpec)


class Ranked(CoverageFunction[S]):
    """Coverage that this file's loop can be greedy for.

    Attributes:
        change: What a pick's row and column do to gains.
    """

    matrices = 0
    change: ClassVar[Change]

    @abstractmethod
    def first(self, similarity: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) gains of the empty set."""

    def picks(
        self, similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]
    ) -> Picks | None:
        """Greedy in one compiled loop on the CPU, where numba is installed."""
        if self.why_no_picks(similarity):
            return None
        return picks(similarity, self.first(similarity, tokens), self.change, tokens, scale, offset, keep)

    def first_in_blocks(self, blocks: Blocks, tokens: VisualTokens) -> Tensor:
        """(N,) float64 gains of the empty set of one group."""
        return blocks.own.new_zeros(blocks.own.shape)

    def picks_in_blocks(self, blocks: Blocks, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: int) -> Picks:
        """Greedy that reads one row of similarities for each pick."""
        from scope_plugins.coverage._fast.in_blocks import greedy

        change, fresh = self.change, True

        def after(pick: Tensor, gain: Tensor) -> Tensor:
            nonlocal fresh
            value = change.constant + (change.row + change.column) * blocks.row(pick)
            replaced, fresh = fresh, False
            if not change.minimum:
                return gain - value
            return value if replaced else gain.minimum(value)

        return greedy(self.first_in_blocks(blocks, tokens), after, tokens, scale, offset, keep)

    def why_no_picks(self, similarity: Tensor) -> str:
        """No compiler, or half precision."""
        return why_not(similarity)


def why_not(similarity: Tensor | None) -> str:
    """Why `picks` has no answer, in words; empty where it has one. None for coverage that reads no similarity."""
    if similarity is not None and similarity.device.type != "cpu":
        return f"it is compiled for the CPU only, and the similarity is on {similarity.device}"
    if similarity is not None and similarity.element_size() < 4:
        return f"half precision ({similarity.dtype}) is computed step by step, as published; use dtype: float32"
    return "" if available() else NO_NUMBA


def picks(
    similarity: Tensor,
    gain: Tensor,
    change: Change,
    tokens: VisualTokens,
    scale: Tensor,
    offset: Tensor,
    keep: Sequence[int],
) -> Picks | None:
    """Greedy where picks change gains as ``change`` says, in the precision of gains.

    Args:
        similarity: (B, N, N), read in place.
        gain: (B, N) gains of the empty set.
        change: What a pick does.
        tokens: (B, N).
        scale: (B, N) of the score ``gain * scale + offset``, finite.
        offset: (B, N) likewise.
        keep: Picks of each group.

    Returns:
        None where ``scale`` or ``offset`` are more precise than gains: the loop then computes in their precision.
    """
    import torch

    from scope_core import Picks

    narrow = [column.to(gain.dtype) for column in (scale, offset)]
    if not all(torch.equal(one.to(whole.dtype), whole) for one, whole in zip(narrow, (scale, offset), strict=True)):
        return None

    shape = (len(keep), max(keep, default=0))
    made = torch.full(shape, -1, device="cpu")
    gains, scores = (torch.full(shape, torch.nan, dtype=gain.dtype, device="cpu") for _ in range(2))
    read = (similarity, gain, tokens.valid, tokens.required, *narrow)
    columns = [tensor.detach().contiguous().numpy() for tensor in (*read, made, gains, scores)]
    run, exact = kernel(), columns[1].dtype.type  # constants of the gains' dtype: nothing is computed in another
    weights = exact(change.constant), exact(change.row), exact(change.column)
    for group, count in enumerate(keep):
        run(*(column[group] for column in columns), change.minimum, *weights, count)
    return Picks(made, gains, scores)


@functools.cache
def kernel() -> Any:
    """The compiled loop."""
    return compiled(_greedy)


def _greedy(
    similarity: np.ndarray,
    start: np.ndarray,
    valid: np.ndarray,
    required: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    picks: np.ndarray,
    gains: np.ndarray,
    scores: np.ndarray,
    minimum: bool,
    constant: float,
    of_row: float,
    of_column: float,
    count: int,
) -> None:
    size = start.shape[0]
    gain, left = start.copy(), valid.copy()
    musts = 0
    for j in range(size):
        musts += valid[j] and required[j]
    for step in range(count):
        pick, highest = -1, scale[0] * 0
        for j in range(size):
            if left[j] and (required[j] or step >= musts):
                score = gain[j] * scale[j] + offset[j]
                if pick < 0 or score > highest:
                    pick, highest = j, score
        picks[step], gains[step], scores[step] = pick, gain[pick], highest
        left[pick] = False
        row, column = similarity[pick], similarity[:, pick]
        for j in range(size):
            value = constant + of_row * row[j]
            if of_column != 0:
                value += of_column * column[j]
            if not minimum:
                gain[j] -= value
            elif step == 0 or value < gain[j]:
                gain[j] = value
