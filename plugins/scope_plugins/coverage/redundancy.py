"""Penalty for similarity to a kept token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast.ranked import Ranked


class RedundancySpec(ComponentSpec):
    """Minus the highest similarity to a kept token."""

    name: Literal["redundancy"] = "redundancy"


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    highest: Tensor | None  # (B, N): similarity to the most similar kept token; None before the first pick


class Redundancy(CoverageFunction[RedundancySpec]):
    """A token loses score if a kept one is like it.

    Use it with the combiner `balance`: together they are maximal marginal relevance.

    ``g_j = -max_{k in A} S_jk``, and 0 before the first pick. Gains never grow, but they may be negative; they depend
    on the order of picks, so this is not a set function. Source: Carbonell and Goldstein, SIGIR 1998.
    """

    matrices = 0
    kernel = Ranked(minimum=True, column=-1)

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is kept, so nothing is redundant."""
        return _State(similarity, None)

    def gain(self, state: _State) -> Tensor:
        """(B, N), in [-1, 1] for the cosine."""
        if state.highest is None:
            return state.similarity.new_zeros(state.similarity.shape[:2])
        return -state.highest

    def add(self, state: _State, pick: Tensor) -> _State:
        """The highest similarity, the pick included."""
        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        column = state.similarity.gather(2, index)[..., 0]
        return _State(state.similarity, column if state.highest is None else state.highest.maximum(column))
