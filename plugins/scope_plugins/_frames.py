"""The frames of a group's tokens: those of a video, or images that are given as frames."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core import VisualTokens


def frame_means(features: Tensor, numbers: Tensor) -> Tensor:
    """(F, D) mean of (n, D) features over each frame; ``numbers`` is (n,), from 0, with no number missing."""
    frames = int(numbers.max()) + 1
    sums = features.new_zeros(frames, features.shape[1]).index_add_(0, numbers, features)
    return sums / numbers.bincount(minlength=frames).to(sums)[:, None]


def pieces_of(labels: Tensor) -> list[list[Tensor]]:
    """The token indices of each piece of each group, from (B, N) labels, -1 for no piece."""
    return [
        [(row == piece).nonzero().flatten() for piece in range(int(row.amax()) + 1)] if len(row) else []
        for row in labels
    ]


def cells(tokens: VisualTokens, group: int) -> Tensor:
    """(N,) a number for each place of a frame in one group, the same in all frames; -1 for tokens that are not valid.

    A place is a row and a column of a tile; tokens without one have their number in the frame for it.
    """
    tokens, group = tokens.only(group, tokens.shape[1]), 0
    index = tokens.valid[group].nonzero().flatten()
    numbers = torch.full_like(tokens.row[group], -1)
    if not len(index):
        return numbers
    frame, tile = tokens.frames()[group, index], tokens.tile[group, index]
    row, col = tokens.row[group, index], tokens.col[group, index]
    order = frame.sort(stable=True).indices
    sizes = frame.bincount()
    nth = torch.empty_like(frame)
    nth[order] = torch.arange(len(frame), device=frame.device) - (sizes.cumsum(0) - sizes)[frame[order]]
    first = torch.full_like(sizes, int(tile.max())).scatter_reduce(0, frame, tile, "amin")  # tiles run through a video
    placed = (row >= 0) & (col >= 0)
    place = torch.stack([(tile - first[frame]) * placed, row.where(placed, -nth - 1), col.where(placed, -nth - 1)])
    numbers[index] = torch.unique(place, dim=1, return_inverse=True)[1]
    return numbers


def before(tokens: VisualTokens, group: int) -> Tensor:
    """(N,) the token at each token's place in the frame before, -1 where there is none."""
    place, frame = cells(tokens, group), tokens.only(group, tokens.shape[1]).frames()[0]
    index = (place >= 0).nonzero().flatten()
    found = torch.full_like(place, -1)
    if len(index):
        index = index[(place[index] * (int(frame.max()) + 1) + frame[index]).sort(stable=True).indices]
        now, earlier = index[1:], index[:-1]
        same = (place[now] == place[earlier]) & (frame[now] == frame[earlier] + 1)
        found[now[same]] = earlier[same]
    return found
