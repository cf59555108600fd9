"""Saturated coverage: total similarity to the kept tokens, up to a cap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.saturated import SaturatedKernel

STEPS = 1.5 * 2.0**52
"""`arithmetic.rounding_constant` in steps of the grid."""


class SaturatedSpec(ComponentSpec):
    """Sum over all tokens of the total similarity to the kept ones, each up to a cap."""

    name: Literal["saturated"] = "saturated"
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The cap, as a share of a token's total similarity to all tokens; at the cap, the token counts as covered."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    rounder: Tensor  # (1,) `arithmetic.rounding_constant`; similarities are rounded as they are read
    highest: Tensor  # (B, N) float64: the highest similarity of each row
    left: Tensor  # (B, N): the similarity that each token lacks to its cap
    gains: Tensor  # (B, N)


class Saturated(CoverageFunction[SaturatedSpec]):
    """Every token should be similar to some kept tokens, up to a point from which more adds nothing.

    Use it where several kept tokens may cover a token together; in facility location, only the best one counts.

    Once every token is at its cap, nothing adds to it: the rest of a budget is kept by saliency, with the combiners
    `sum` and `balance`, or else by index. A larger ``share`` puts this off.

    Monotone and submodular for similarities of at least 0, which it requires.
    ``f(A) = sum_i min(sum_{j in A} S_ij, share * sum_{k in V} S_ik)``, in float64. Similarities and caps are rounded to
    the grid of `facility_location`, on which all these sums are exact: multiples of 2^-41 for 576 tokens.
    Source: Lin and Bilmes, ACL 2011.
    """

    monotone = True
    submodular = True
    nonnegative_similarity = True
    matrices = 0
    kernel = SaturatedKernel()

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet: every token lacks its whole cap."""
        rounder = arithmetic.rounding_constant(similarity, halves=similarity.element_size() < 4)
        total, highest = torch.zeros((2, *similarity.shape[:2]), dtype=torch.float64, device=similarity.device)
        for place, rows in _rows(similarity, rounder):
            total[:, place], highest[:, place] = rows.sum(2), rows.amax(2)
        cap, step = self.spec.share * total, rounder / STEPS
        left = torch.where(step > 0, (cap / step).round() * step, cap)
        return _State(similarity, rounder, highest, left, _full_gains(similarity, rounder, left))

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0: ``g_j = sum_i min(S_ij, left_i)``."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Lower what each token lacks by its similarity to the pick.

        Gains change only for rows that then lack less than their highest similarity.
        """
        similarity, rounder, before = state.similarity, state.rounder, state.left
        index = pick[:, None, None].expand(-1, similarity.shape[1], 1)
        left = (before - arithmetic.on_grid(similarity.gather(2, index)[..., 0], rounder)).clamp_(min=0)
        if not arithmetic.on_host(left.device):  # finding the rows that change would wait for the device
            return replace(state, left=left, gains=_full_gains(similarity, rounder, left))
        group, row = (left < before.minimum(state.highest)).nonzero(as_tuple=True)
        gains, few = state.gains.clone(), max(1, arithmetic.block_size(left) // left.shape[1])
        for groups, changed in zip(torch.split(group, few), torch.split(row, few), strict=True):
            rows = arithmetic.on_grid(similarity[groups, changed], rounder)
            lost = rows.minimum(before[groups, changed, None]).sub_(rows.minimum(left[groups, changed, None]))
            gains.index_add_(0, groups, lost, alpha=-1)
        return replace(state, left=left, gains=gains)


def _full_gains(similarity: Tensor, rounder: Tensor, left: Tensor) -> Tensor:
    gains = torch.zeros_like(left)
    for place, rows in _rows(similarity, rounder):
        gains += rows.minimum(left[:, place, None]).sum(1)
    return gains


def _rows(similarity: Tensor, rounder: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Blocks of rows: their slice, and (B, few, N) float64 similarities rounded to the grid."""
    batch, count = similarity.shape[:2]
    few = max(1, arithmetic.block_size(similarity) // max(1, batch * count))
    for start in range(0, count, few):
        place = slice(start, start + few)
        yield place, arithmetic.on_grid(similarity[:, place], rounder)
