"""The number of tokens that have a similar kept token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import SpecError, VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.theta_cover import ThetaCoverKernel


class ThetaCoverSpec(ComponentSpec):
    """The number of tokens with a kept token of at least a given similarity."""

    name: Literal["theta_cover"] = "theta_cover"
    theta: Annotated[float, Field(gt=0)] = 0.8
    """The similarity from which a token counts as covered."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    open: Tensor  # (B, N) bool: not covered yet
    gains: Tensor  # (B, N) float64


class ThetaCover(CoverageFunction[ThetaCoverSpec]):
    """As many tokens as possible should have a kept token that is similar enough.

    Use it to maximise what `Selection.coverage` reports: f(A) / N with the cosine. Gains are whole numbers, so ties
    are frequent; the lowest index wins.

    Monotone and submodular (maximum coverage). ``f(A) = |{i : max_{j in A} S_ij >= theta}|``.
    Source: SCOPE, arXiv 2510.24214, Definition 1.
    """

    monotone = True
    submodular = True
    matrices = 0
    kernel = ThetaCoverKernel()

    def least(self, similarity: Tensor) -> Tensor:
        """The similarity from which a token counts as covered, in the similarity's dtype."""
        # 1e-6 below theta, as in `Selection.coverage`, for the rounding of cosines
        return similarity.new_tensor(self.spec.theta - 1e-6)

    def check_theta(self, similarity: Tensor) -> None:
        """Refuse a theta that no similarity reaches, not even of a token to itself: nothing would ever be covered.

        Raises:
            SpecError: theta is above 1, and above all similarities.
        """
        if self.spec.theta > 1 and similarity.numel() and float(similarity.amax()) < self.spec.theta:
            raise SpecError(
                f"coverage {self}: no similarity reaches theta {self.spec.theta:g}, the largest is "
                f"{float(similarity.amax()):.4g}, so no token would ever be covered; lower theta (of cosines: below 1)"
            )

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet.

        Raises:
            SpecError: see `check_theta`.
        """
        self.check_theta(similarity)
        return _State(similarity, tokens.valid, self._full_gains(similarity, tokens.valid))

    def gain(self, state: _State) -> Tensor:
        """(B, N) the number of uncovered tokens that each token would cover."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Mark tokens near the pick as covered; they no longer count for other tokens."""
        similarity, least = state.similarity, self.least(state.similarity)
        index = pick[:, None, None].expand(-1, similarity.shape[1], 1)
        covered = state.open & (similarity.gather(2, index)[..., 0] >= least)
        left = state.open & ~covered
        if not arithmetic.on_host(covered.device):  # finding the rows that were covered would wait for the device
            return _State(similarity, left, self._full_gains(similarity, left))
        group, row = covered.nonzero(as_tuple=True)
        gains, few = state.gains.clone(), max(1, arithmetic.block_size(covered) // covered.shape[1])
        for groups, rows in zip(torch.split(group, few), torch.split(row, few), strict=True):
            gains.index_add_(0, groups, (similarity[groups, rows] >= least).double(), alpha=-1)
        return _State(similarity, left, gains)

    def _full_gains(self, similarity: Tensor, left: Tensor) -> Tensor:
        """(B, N) float64: the number of uncovered rows similar to each column, a few rows at a time."""
        batch, count = left.shape
        few, least = max(1, arithmetic.block_size(left) // max(1, batch * count)), self.least(similarity)
        gains = torch.zeros((batch, count), dtype=torch.float64, device=left.device)
        for rows, open_ in zip(torch.split(similarity, few, dim=1), torch.split(left, few, dim=1), strict=True):
            gains += ((rows >= least) & open_[:, :, None]).sum(1, dtype=torch.float64)
        return gains
