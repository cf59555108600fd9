"""Facility location: how well every token is represented by its best kept token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec, CoverageFunction

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class FacilityLocationSpec(ComponentSpec):
    """Sum over all tokens of the best similarity to a kept one, negatives counting as 0."""

    name: Literal["facility_location"] = "facility_location"


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    best: Tensor  # (B, N): running maximum c_i, starts at 0
    gains: Tensor  # (B, N)


class FacilityLocation(CoverageFunction[FacilityLocationSpec]):
    """``f(A) = sum_i max(0, max_{j in A} S_ij)``; gain ``g_j = sum_i max(0, S_ij - c_i)``, ``c_i`` from 0.

    Because the running maximum starts at 0, a negative similarity never counts. Source: SCOPE, arXiv
    2510.24214; Cornuejols et al. 1977 for facility location.
    """

    monotone = True
    submodular = True

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        best = tokens.features.new_zeros(tokens.shape[:2])
        return _State(similarity, best, _full_gains(similarity, best))

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Raise the running maximum; only rows where it rose can change a gain."""
        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        best = state.best.maximum(state.similarity.gather(2, index)[..., 0])
        if best.dtype.itemsize < 4:  # as published: half precision re-sums every row, rounding included
            return _State(state.similarity, best, _full_gains(state.similarity, best))
        group, row = (best > state.best).nonzero(as_tuple=True)
        # float64 sums of float32 terms are exact for all practical purposes, so gains neither drift over
        # hundreds of picks nor depend on the order of summation, and equal gains stay equal
        rows = state.similarity[group, row].double()
        lost = (rows - state.best[group, row, None]).clamp_(min=0) - (rows - best[group, row, None]).clamp_(min=0)
        return _State(state.similarity, best, state.gains.index_add(0, group, lost, alpha=-1))


def _full_gains(similarity: Tensor, best: Tensor) -> Tensor:
    if best.dtype.itemsize < 4:
        return (similarity - best[:, :, None]).clamp_(min=0).sum(1)
    return (similarity.double() - best[:, :, None]).clamp_(min=0).sum(1)
