"""`Picks`: what an optimizer returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Picks:
    """What an optimizer returns: (B, K) each, -1 (picks) and NaN (gains, scores) where a row is shorter."""

    picks: Tensor
    gains: Tensor
    scores: Tensor
