"""Greedy in one compiled loop (numba) for coverage whose gains one row or column of similarity changes.

Every step is arithmetic of the loop over `start`, `gain` and `add` in the same dtype and order: the same picks, gains
and scores to the last bit.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage._compiled import available, compiled

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from scope_core import Picks, VisualTokens

Change = Literal["minimum", "minus"]
"""What a pick's row does to gains."""


S = TypeVar("S", bound=ComponentSpec)


class Ranked(CoverageFunction[S]):
    """Coverage that this file's loop can be greedy for.

    Attributes:
        change: What a pick's row does to gains.
    """

    change: ClassVar[Change] = "minimum"

    @abstractmethod
    def rows(self, similarity: Tensor, tokens: VisualTokens) -> tuple[Tensor, Tensor]:
        """(B, N, N) rows and (B, N) gains of the empty set, as for `picks` of this file."""

    def picks(
        self, similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]
    ) -> Picks | None:
        """Greedy in one compiled loop on the CPU, where numba is installed."""
        if self.why_no_picks(similarity):
            return None
        return picks(*self.rows(similarity, tokens), self.change, tokens, scale, offset, keep)

    def why_no_picks(self, similarity: Tensor) -> str:
        """No compiler, or half precision."""
        return why_not(similarity)


def why_not(similarity: Tensor) -> str:
    """Why `picks` has no answer, in words; empty where it has one."""
    if similarity.device.type != "cpu":
        return f"it is compiled for the CPU only, and the similarity is on {similarity.device}"
    if similarity.dtype.itemsize < 4:
        return f"half precision ({similarity.dtype}) is computed step by step, as published; use dtype: float32"
    return "" if available() else 'numba is not installed; pip install "scope-core[fast]"'


def picks(
    rows: Tensor,
    gain: Tensor,
    change: Change,
    tokens: VisualTokens,
    scale: Tensor,
    offset: Tensor,
    keep: Sequence[int],
) -> Picks | None:
    """Greedy where picking p makes the gain of token j ``min(gain_j, rows_pj)``, or ``gain_j - rows_pj``.

    Args:
        rows: (B, N, N) of the dtype of gains.
        gain: (B, N) gains of the empty set.
        change: Which of the two; for the minimum, the first pick's row replaces the gains.
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
    read = (rows, gain, tokens.valid, tokens.required, *narrow)
    columns = [tensor.detach().contiguous().numpy() for tensor in (*read, made, gains, scores)]
    run = kernel()
    for group, count in enumerate(keep):
        run(*(column[group] for column in columns), change == "minimum", count)
    return Picks(made, gains, scores)


@functools.cache
def kernel() -> Any:
    """The compiled loop."""
    return compiled(_greedy)


def _greedy(
    rows: np.ndarray,
    start: np.ndarray,
    valid: np.ndarray,
    required: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    picks: np.ndarray,
    gains: np.ndarray,
    scores: np.ndarray,
    minimum: bool,
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
        row = rows[pick]
        for j in range(size):
            if not minimum:
                gain[j] -= row[j]
            elif step == 0 or row[j] < gain[j]:
                gain[j] = row[j]
