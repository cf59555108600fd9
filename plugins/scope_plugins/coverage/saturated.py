"""Saturated coverage: total similarity to the kept tokens, up to a cap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage import _device

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class SaturatedSpec(ComponentSpec):
    """Sum over all tokens of their total similarity to the kept ones, each up to a cap."""

    name: Literal["saturated"] = "saturated"
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The cap, as a share of a token's similarity to all tokens together: from there on it counts as covered."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N) float64
    left: Tensor  # (B, N): what each token lacks to its cap


class Saturated(CoverageFunction[SaturatedSpec]):
    """``f(A) = sum_i min(sum_{j in A} S_ij, share * sum_{k in V} S_ik)``, in float64.

    Unlike facility location, several kept tokens can cover a token together. Monotone and submodular for similarities
    of at least 0, which it asks for. Source: Lin and Bilmes, ACL 2011.
    """

    monotone = True
    submodular = True
    nonnegative_similarity = True
    matrices = 2.5

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Every token lacks its whole cap."""
        matrix = similarity.double()
        return _State(matrix, self.spec.share * matrix.sum(2))

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0: ``g_j = sum_i min(S_ij, what i lacks)``."""
        import torch

        columns = torch.split(state.similarity, max(1, _device.BLOCK // max(1, state.left.numel())), dim=2)
        return _device.joined([some.minimum(state.left[:, :, None]).sum(1) for some in columns])

    def add(self, state: _State, pick: Tensor) -> _State:
        """Every token lacks less by its similarity to the pick."""
        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        return _State(state.similarity, (state.left - state.similarity.gather(2, index)[..., 0]).clamp(min=0))
