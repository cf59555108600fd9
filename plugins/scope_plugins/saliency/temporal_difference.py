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

    @property
    def reach(self) -> tuple[int, int] | None:  # type: ignore[override]  # follows from the unit
        """One frame before; unknown where tiles count as frames."""
        return (1, 0) if self.spec.frame == "image" else None

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2] up to rounding."""
        unit = tokens.unit()
        score = unit.new_full(tokens.shape[:2], 2.0)
        for group in range(tokens.shape[0]):
            if size := self._frame_size(tokens, group):
                score[group, size:] = 1 - (unit[group, size:] * unit[group, :-size]).sum(-1)
                continue
            now, before = self._matched(tokens, group)
            if len(now):
                score[group, now] = 1 - (unit[group, now] * unit[group, before]).sum(-1)
        return score.nan_to_num(nan=2.0)  # comparisons with padding, which may hold anything

    def _frame_size(self, tokens: VisualTokens, group: int) -> int:
        """Tokens of each frame, if all have the same places in the same order, as a video's; 0 for any others."""
        image, tile, row, col = (plane[group] for plane in (tokens.image, tokens.tile, tokens.row, tokens.col))
        by_tile, count = self.spec.frame == "tile", len(image)
        number = tile if by_tile else tokens.frame[group]
        first = ((image[1:] != image[:-1]) | (number[1:] != number[:-1])).nonzero().flatten() + 1
        size = int(first[0]) if len(first) else count
        if count % size or not torch.equal(first, torch.arange(size, count, size, device=first.device)):
            return 0
        frames = [(int(image[at]), int(number[at])) for at in range(0, count, size)]
        within = torch.zeros_like(tile) if by_tile else tile - _first_tiles(tokens.frame[group], tile, size)
        places = torch.stack([within, row, col]).view(3, -1, size)
        alike = int(image.min()) >= 0 and bool((places == places[:, :1]).all()) and frames == sorted(set(frames))
        distinct = alike and len({*zip(*places[:, 0].tolist(), strict=True)}) == size
        return size if distinct and int(places[1:, 0].min()) >= 0 and size < count else 0

    def _matched(self, tokens: VisualTokens, group: int) -> tuple[Tensor, Tensor]:
        """(P,) tokens that have a token at the same place in the frame before, and (P,) that token."""
        names = ("image", "frame", "tile", "row", "col")
        by_tile = self.spec.frame == "tile"
        frames: dict[tuple[int, int], dict[tuple[int, ...], int]] = {}
        first: dict[tuple[int, int], int] = {}
        planes = (getattr(tokens, name)[group].tolist() for name in names)
        for token, (image, number, tile, row, col) in enumerate(zip(*planes, strict=True)):
            if image < 0:  # padding; dropped tokens are still compared with those of the next frame
                continue
            key = (image, tile if by_tile else number)
            frame = frames.setdefault(key, {})
            start = first.setdefault(key, tile if number else 0)  # tiles run through a whole video
            place = (0 if by_tile else tile - start, row, col) if min(row, col) >= 0 else (len(frame),)
            frame[place] = token
        order = [frames[key] for key in sorted(frames)]
        pairs = [
            (token, before[place]) for before, now in pairwise(order) for place, token in now.items() if place in before
        ]
        return tuple(torch.tensor(pairs, dtype=torch.int64, device=tokens.device).view(-1, 2).T)


def _first_tiles(frame: Tensor, tile: Tensor, size: int) -> Tensor:
    """(N,) the first tile of each token's frame of ``size`` tokens, 0 in the first frame."""
    return torch.where(frame > 0, tile.view(-1, size)[:, :1].expand(-1, size).flatten(), 0)
