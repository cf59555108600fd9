"""`Picks`: the picks of an optimizer, with their gains and scores."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scope_core.display import brief_repr


@dataclass(frozen=True)
class Picks:
    """The picks of an optimizer, with their gains and scores.

    Attributes:
        picks: (B, K) int64 token indices in the order they were picked, -1 where a row is shorter.
        gains: (B, K) coverage gain of each pick, NaN where a row is shorter.
        scores: (B, K) score of each pick, NaN where a row is shorter.
    """

    picks: Tensor
    gains: Tensor
    scores: Tensor

    __repr__ = brief_repr
