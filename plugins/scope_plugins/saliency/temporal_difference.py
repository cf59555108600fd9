"""Difference of each token from the previous frame."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._frames import cosines, steps


class TemporalDifferenceSpec(ComponentSpec):
    """Difference of each token from the token at the same place in the previous frame."""

    name: Literal["temporal_difference"] = "temporal_difference"
    frame: Literal["image", "tile"] = "image"
    """The unit that counts as a frame: each frame of a video and each image of the group, or each tile."""


class TemporalDifference(SaliencySource[TemporalDifferenceSpec]):
    """Tokens that changed since the previous frame; what stands still is dropped.

    Use it for videos, with the constraint `first_frame`, so that still parts are kept once.

    ``a_j = 1 - cos(x_j, x_i)``, where i is the token in the same row and column of the previous frame. Tokens without
    one (in the first frame, or where frames differ in size) get 2, the largest possible distance. Tokens without a
    place in a grid are compared by their index within the frame. Source: EVS, arXiv 2510.14624.
    """

    reads_places = True
    copies = 2

    @property
    def reach(self) -> tuple[int, int] | None:  # type: ignore[override]  # follows from the unit
        """One frame before; unknown where tiles count as frames."""
        return (1, 0) if self.spec.frame == "image" else None

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2] up to rounding."""
        score = tokens.features.new_full(tokens.shape[:2], 2.0)
        for group in range(tokens.shape[0]):
            real = (tokens.image[group] >= 0).nonzero().flatten()  # padding; dropped tokens are still compared with
            now, earlier = steps(tokens, group, real, by_tile=self.spec.frame == "tile")
            score[group, now] = 1 - cosines(tokens.features[group], now, earlier)
        return score.nan_to_num(nan=2.0)  # comparisons with dropped tokens, which may hold anything
