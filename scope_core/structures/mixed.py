"""`Mixed`: rows for the language model that were merged from several tokens."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from scope_core.display import brief_repr


@dataclass(frozen=True, eq=False)
class Mixed:
    """The merged rows that the language model gets; each is a weighted sum of tokens.

    Attributes:
        weights: (B, R, N) weight of each token in each row; zero beyond a group's rows.
        cls_weights: (B, R, N) weight in each row of the CLS token of each token's tile; None if CLS is not used.
        sources: (B, R) int64 kept token that each row stands for; -1 for rows that the merger added, and for padding.
        counts: Rows of each group.
        cls_signal: Name of the signal with the CLS tokens; empty if CLS is not used.
    """

    weights: Tensor
    cls_weights: Tensor | None
    sources: Tensor
    counts: tuple[int, ...]
    cls_signal: str = ""

    __repr__ = brief_repr
