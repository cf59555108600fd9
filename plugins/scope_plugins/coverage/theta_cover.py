"""How many tokens have a kept one that is similar enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import ComponentSpec, CoverageFunction

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


class ThetaCover(CoverageFunction[ThetaCoverSpec]):
    """``f(A) = |{i : max_{j in A} S_ij >= theta}|``: SCOPE's theta-coverage (arXiv 2510.24214, Definition 1).

    Maximum coverage: monotone and submodular. Gains are whole numbers, so ties are frequent; they break to the lowest
    index. With the cosine, f(A) / N is what `Selection.coverage` reports.
    """

    monotone = True
    submodular = True

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        # a cosine to itself is exactly 1; 1e-6 forgives the rounding of others, as theta-coverage does
        near = (similarity >= self.spec.theta - 1e-6) & tokens.valid[:, :, None] & tokens.valid[:, None, :]
        return _State(near, tokens.valid)

    def gain(self, state: _State) -> Tensor:
        """(B, N) whole numbers of at least 0: tokens that this one would be the first to cover."""
        return (state.near & state.open[:, :, None]).sum(1).double()

    def add(self, state: _State, pick: Tensor) -> _State:
        """Tokens near the pick are covered."""
        index = pick[:, None, None].expand(-1, state.near.shape[1], 1)
        return _State(state.near, state.open & ~state.near.gather(2, index)[..., 0])
