"""Penalty for what the kept tokens say already."""

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
    highest: Tensor | None  # (B, N): similarity to the most similar kept token; None while there is none


class Redundancy(CoverageFunction[RedundancySpec]):
    """``g_j = -max_{k in A} S_jk``, and 0 while nothing is kept.

    With the combiner `balance` this is maximal marginal relevance: Carbonell and Goldstein, SIGIR 1998. The gains
    depend on the order of picks, so this is no set function; gains never grow, but they are negative.
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
        """Similarity to the pick counts where it is the highest."""
        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        here = state.similarity.gather(2, index)[..., 0]
        return _State(state.similarity, here if state.highest is None else state.highest.maximum(here))
