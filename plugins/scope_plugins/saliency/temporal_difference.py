"""Difference of each token from the previous frame."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


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

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2] up to rounding."""
        unit = tokens.unit()
        score = unit.new_full(tokens.shape[:2], 2.0)
        for group in range(tokens.shape[0]):
            now, before = self._matched(tokens, group)
            if not len(now):
                continue
            steps = now - before
            if int(now[-1]) - int(now[0]) == len(now) - 1 and bool((steps == steps[0]).all()):  # frames in order
                later, earlier = (unit[group, int(at[0]) : int(at[-1]) + 1] for at in (now, before))
            else:
                later, earlier = unit[group, now], unit[group, before]
            score[group, now] = 1 - (later * earlier).sum(-1)
        return score.nan_to_num(nan=2.0)  # comparisons with dropped tokens, which may hold anything

    def _matched(self, tokens: VisualTokens, group: int) -> tuple[Tensor, Tensor]:
        """(P,) tokens that have a token at the same place in the frame before, in their order, and (P,) that token."""
        real = (tokens.image[group] >= 0).nonzero().flatten()  # padding; dropped tokens are still compared with
        image, number, tile, row, col = (
            plane[group, real] for plane in (tokens.image, tokens.frame, tokens.tile, tokens.row, tokens.col)
        )
        if not len(real):
            return real, real
        by_tile, order = self.spec.frame == "tile", torch.arange(len(real), device=real.device)
        _, frame = torch.unique(_joined(image, tile if by_tile else number), return_inverse=True)
        by_frame, sizes = frame.argsort(stable=True), frame.bincount()
        begin = sizes.cumsum(0) - sizes
        index = torch.empty_like(order)  # within the frame
        index[by_frame] = order - begin[frame[by_frame]]
        start = torch.where(number > 0, tile, 0)[by_frame[begin]][frame]  # tiles run through a whole video
        within = torch.zeros_like(tile) if by_tile else tile - start
        grid = _joined(_joined(within - within.min(), row), col)
        _, place = torch.unique(torch.where(torch.minimum(row, col) >= 0, grid, -1 - index), return_inverse=True)
        table = torch.full((len(sizes), int(place.max()) + 1), -1, dtype=torch.int64, device=real.device)
        table.view(-1).scatter_reduce_(0, frame * table.shape[1] + place, order, "amax")
        both = (table[1:] >= 0) & (table[:-1] >= 0)
        now, line = table[1:][both].sort()
        return real[now], real[table[:-1][both][line]]


def _joined(high: Tensor, low: Tensor) -> Tensor:
    """One number for two of at least 0 each, in the order of the first, then of the second."""
    return high * (low.max() + 1).clamp(min=1) + low
