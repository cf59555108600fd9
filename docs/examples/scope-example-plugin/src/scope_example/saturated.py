"""Saturated coverage: a token that is represented well enough asks for nothing more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core.parts import ComponentSpec, CoverageFunction

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens

    State = tuple[Tensor, Tensor]  # (B, N, N) similarity in [0, cap]; (B, N) how well each token is covered


class SaturatedSpec(ComponentSpec):
    """Sum over all tokens of the best similarity to a kept one, up to a cap; negatives count as 0."""

    name: Literal["example.saturated"] = "example.saturated"
    cap: Annotated[float, Field(gt=0, le=1)] = 0.8
    """A token is fully covered at this similarity; with the cosine, 1 is `facility_location`."""


class Saturated(CoverageFunction[SaturatedSpec]):
    """``f(A) = sum_i min(cap, max_{j in A} S_ij)``: monotone and submodular, as facility location is.

    Once every token has reached the cap all gains are 0, and the picks that are left go to the lowest index.
    """

    monotone = True
    submodular = True

    def start(self, similarity: Tensor, tokens: VisualTokens) -> State:
        """Nothing is covered yet."""
        capped = similarity.clamp(0, self.spec.cap)
        return capped, capped.new_zeros(capped.shape[:2])

    def gain(self, state: State) -> Tensor:
        """(B, N): ``g_j = sum_i max(0, S_ij - c_i)``, at least 0."""
        similarity, covered = state
        return (similarity - covered[:, :, None]).clamp(min=0).sum(1)

    def add(self, state: State, pick: Tensor) -> State:
        """Every token is covered at least as well as the picked one covers it."""
        similarity, covered = state
        column = pick[:, None, None].expand(-1, similarity.shape[1], 1)
        return similarity, covered.maximum(similarity.gather(2, column)[..., 0])
