"""Difference of each token from the previous frame."""

from __future__ import annotations

from itertools import pairwise
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
        # tiles run through a whole video: the place is that within the frame
        planes = [tokens.image, tokens.frame, tokens.tile, tokens.row, tokens.col]
        for group, columns in enumerate(zip(*(plane.tolist() for plane in planes), strict=True)):
            frames: dict[tuple[int, int], dict[tuple[int, ...], int]] = {}
            first: dict[tuple[int, int], int] = {}
            for token, (image, number, tile, row, col) in enumerate(zip(*columns, strict=True)):
                if image < 0:  # padding; dropped tokens are still compared with those of the next frame
                    continue
                unit_of = (image, tile if self.spec.frame == "tile" else number)
                frame = frames.setdefault(unit_of, {})
                start = first.setdefault(unit_of, tile if number else 0)
                place = (
                    (0 if self.spec.frame == "tile" else tile - start, row, col)
                    if min(row, col) >= 0
                    else (len(frame),)
                )
                frame[place] = token
            order = [frames[key] for key in sorted(frames)]
            pairs = [
                (token, before[place])
                for before, now in pairwise(order)
                for place, token in now.items()
                if place in before
            ]
            if pairs:
                now_at, before_at = torch.tensor(pairs, device=tokens.device).T
                score[group, now_at] = 1 - (unit[group, now_at] * unit[group, before_at]).sum(-1)
        return score.nan_to_num(nan=2.0)  # comparisons with padding, which may hold anything
