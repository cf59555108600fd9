"""How many tokens have a kept one that is similar enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage import _device

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class ThetaCoverSpec(ComponentSpec):
    """The number of tokens with a kept token of at least a given similarity."""

    name: Literal["theta_cover"] = "theta_cover"
    theta: Annotated[float, Field(gt=0)] = 0.8
    """Similarity from which on a token counts as covered."""


@dataclass
class _State:
    near: Tensor  # (B, N, N) bool: column j covers row i
    open: Tensor  # (B, N) bool: not covered yet
    gains: Tensor  # (B, N) float64


class ThetaCover(CoverageFunction[ThetaCoverSpec]):
    """``f(A) = |{i : max_{j in A} S_ij >= theta}|``: SCOPE's theta-coverage (arXiv 2510.24214, Definition 1).

    Maximum coverage: monotone and submodular. Gains are whole numbers, so ties are frequent; they break to the lowest
    index. With the cosine, f(A) / N is what `Selection.coverage` reports.
    """

    monotone = True
    submodular = True
    matrices = 1

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        # a cosine to itself is exactly 1; 1e-6 forgives the rounding of others, as theta-coverage does
        near = (similarity >= self.spec.theta - 1e-6) & tokens.valid[:, :, None] & tokens.valid[:, None, :]
        return _State(near, tokens.valid, near.sum(1).double())

    def gain(self, state: _State) -> Tensor:
        """(B, N) whole numbers of at least 0: tokens that this one would be the first to cover."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Tokens near the pick are covered; whom they would have counted for loses as much."""
        import torch

        index = pick[:, None, None].expand(-1, state.near.shape[1], 1)
        covered = state.open & state.near.gather(2, index)[..., 0]
        if not _device.on_host(covered):  # to ask which were covered would wait
            still = state.open & ~covered
            return _State(state.near, still, (state.near & still[:, :, None]).sum(1).double())
        group, row = covered.nonzero(as_tuple=True)
        gains, few = state.gains.clone(), max(1, _device.BLOCK // covered.shape[1])
        for mine, risen in zip(torch.split(group, few), torch.split(row, few), strict=True):
            gains.index_add_(0, mine, state.near[mine, risen].double(), alpha=-1)
        return _State(state.near, state.open & ~covered, gains)
