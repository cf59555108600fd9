"""How many tokens have a kept one that is similar enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.theta_cover import ThetaCoverKernel


class ThetaCoverSpec(ComponentSpec):
    """The number of tokens with a kept token of at least a given similarity."""

    name: Literal["theta_cover"] = "theta_cover"
    theta: Annotated[float, Field(gt=0)] = 0.8
    """Similarity from which on a token counts as covered."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    open: Tensor  # (B, N) bool: not covered yet
    gains: Tensor  # (B, N) float64


class ThetaCover(CoverageFunction[ThetaCoverSpec]):
    """``f(A) = |{i : max_{j in A} S_ij >= theta}|``: SCOPE's theta-coverage (arXiv 2510.24214, Definition 1).

    Maximum coverage: monotone and submodular. Gains are whole numbers, so ties are frequent; they break to the lowest
    index. With the cosine, f(A) / N is what `Selection.coverage` reports.
    """

    monotone = True
    submodular = True
    matrices = 0  # compared as it is read
    kernel = ThetaCoverKernel()

    def least(self, similarity: Tensor) -> Tensor:
        """From which similarity on a token counts as covered, in the similarity's dtype."""
        # a cosine to itself is exactly 1; 1e-6 forgives the rounding of others, as theta-coverage does
        return similarity.new_tensor(self.spec.theta - 1e-6)

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        return _State(similarity, tokens.valid, self._full_gains(similarity, tokens.valid))

    def gain(self, state: _State) -> Tensor:
        """(B, N) whole numbers of at least 0: tokens that this one would be the first to cover."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Tokens near the pick are covered; whom they would have counted for loses as much."""
        similarity, least = state.similarity, self.least(state.similarity)
        index = pick[:, None, None].expand(-1, similarity.shape[1], 1)
        covered = state.open & (similarity.gather(2, index)[..., 0] >= least)
        still = state.open & ~covered
        if not arithmetic.on_host(covered.device):  # to ask which were covered would wait
            return _State(similarity, still, self._full_gains(similarity, still))
        group, row = covered.nonzero(as_tuple=True)
        gains, few = state.gains.clone(), max(1, arithmetic.together(covered) // covered.shape[1])
        for mine, risen in zip(torch.split(group, few), torch.split(row, few), strict=True):
            gains.index_add_(0, mine, (similarity[mine, risen] >= least).double(), alpha=-1)
        return _State(similarity, still, gains)

    def _full_gains(self, similarity: Tensor, left: Tensor) -> Tensor:
        """(B, N) float64: rows that are left and near to each column, counted a few at a time."""
        batch, count = left.shape
        few, least = max(1, arithmetic.together(left) // max(1, batch * count)), self.least(similarity)
        gains = torch.zeros((batch, count), dtype=torch.float64, device=left.device)
        for rows, open_ in zip(torch.split(similarity, few, dim=1), torch.split(left, few, dim=1), strict=True):
            gains += ((rows >= least) & open_[:, :, None]).sum(1, dtype=torch.float64)
        return gains
