"""The frames of a group's tokens: those of a video, or images that are given as frames."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import unit_rows

_ROWS = 256
"""Tokens that are computed together: few enough to stay in a processor's cache, and to need little memory."""


def frame_means(features: Tensor, numbers: Tensor) -> Tensor:
    """(F, D) float64 mean of (n, D) features over each frame; ``numbers`` is (n,), from 0, with no number missing.

    The tokens of a frame are added up one by one in their order, so that equal frames have equal means.
    """
    sizes = numbers.bincount()
    sums = features.new_zeros(len(sizes), features.shape[1], dtype=torch.float64)
    if bool((sizes == sizes[0]).all()) and bool((numbers.diff() >= 0).all()):  # frame by frame, all of one size
        for nth in features.view(len(sizes), -1, features.shape[1]).unbind(1):
            sums += nth
    else:
        for rows, of_each in zip(torch.split(features, _ROWS), torch.split(numbers, _ROWS), strict=True):
            sums.index_add_(0, of_each, rows.double())
    return sums / sizes[:, None]


def cosines(features: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """(n,) cosine of (N, D) features at the places ``one`` (n,) to those at ``other`` (n,); 0 for rows of zeros."""
    found, norm = features.new_empty(len(one)), torch.linalg.vector_norm(features, dim=1, keepdim=True)
    lowest, highest = (float(end) for end in norm.float().aminmax()) if norm.numel() else (0.0, 0.0)
    if torch.finfo(norm.dtype).tiny ** 0.5 <= lowest <= highest < math.inf:  # where `unit_rows` divides
        unit = features / norm
    else:  # it scales copies: a few rows at a time take little memory
        unit = torch.cat([unit_rows(rows) for rows in torch.split(features, _ROWS)])
    takes = _taking(unit, one), _taking(unit, other)
    for start in range(0, len(one), _ROWS):
        rows = slice(start, start + _ROWS)
        left, right = (take(rows) for take in takes)
        torch.sum(left * right, 1, out=found[rows])
    return found


def _taking(unit: Tensor, index: Tensor) -> Callable[[slice], Tensor]:
    """A function from some of the places in ``index`` to their rows; copies no run of places."""
    if len(index) and bool((index.diff() == 1).all()):
        run = unit[int(index[0]) :][: len(index)]
        return lambda rows: run[rows]
    return lambda rows: unit.index_select(0, index[rows])


def rows_of(tokens: VisualTokens, group: int) -> Tensor:
    """(n, D) features of the valid tokens of a group; not copied if all are."""
    features = tokens.features[group]
    return features if tokens.n_valid[group] == len(features) else features[tokens.valid[group]]


def pieces_of(labels: Tensor) -> list[list[Tensor]]:
    """The token indices of each piece of each group, from (B, N) labels, -1 for no piece."""
    found = []
    for row in labels:
        order, none = row.argsort(stable=True), int((row < 0).sum())
        found.append(list(order[none:].split(row[row >= 0].bincount().tolist())))
    return found


def tile_numbers(tokens: VisualTokens) -> Tensor:
    """(B, N) int64: the tile of each token, numbered from 0 in each group by image and tile; -1 for padding."""
    numbers = torch.full_like(tokens.tile, -1)
    for line, image, tile, valid in zip(numbers, tokens.image, tokens.tile, tokens.valid, strict=True):
        line[valid] = torch.unique(torch.stack([image[valid], tile[valid]]), dim=1, return_inverse=True)[1]
    return numbers


def cells(tokens: VisualTokens, group: int) -> Tensor:
    """(N,) a number for each place of a frame in one group, the same in all frames; -1 for tokens that are not valid.

    A place is a row and a column of a tile; tokens without one have their number in the frame for it.
    """
    index = tokens.valid[group].nonzero().flatten()
    numbers = torch.full_like(tokens.row[group], -1)
    if len(index):
        numbers[index] = _numbered(tokens, group, index)[1]
    return numbers


def before(tokens: VisualTokens, group: int) -> Tensor:
    """(N,) the token at each token's place in the frame before, -1 where there is none; see `table`."""
    found = torch.full_like(tokens.row[group], -1)
    now, earlier = steps(tokens, group)
    found[now] = earlier
    return found


def steps(
    tokens: VisualTokens, group: int, index: Tensor | None = None, *, by_tile: bool = False
) -> tuple[Tensor, Tensor]:
    """(n,) the tokens that have one at their place in the frame before, and (n,) that one; see `table`."""
    index = tokens.valid[group].nonzero().flatten() if index is None else index
    size = 0 if by_tile else _frame_size(tokens, group, index)
    if size:
        return index[size:], index[:-size]
    rows = table(tokens, group, index, by_tile=by_tile)
    both = (rows[1:] >= 0) & (rows[:-1] >= 0)
    return rows[1:][both], rows[:-1][both]


def _frame_size(tokens: VisualTokens, group: int, index: Tensor) -> int:
    """The tokens of each frame where all frames hold the same places in the same order, one after another; else 0."""
    if not len(index):
        return 0
    whole = len(index) == tokens.shape[1]  # indices increase
    image, number, tile, row, col = (
        plane[group] if whole else plane[group, index]
        for plane in (tokens.image, tokens.frame, tokens.tile, tokens.row, tokens.col)
    )
    starts = (image.diff().bitwise_or_(number.diff()) != 0).nonzero().flatten().add_(1).tolist()
    size = starts[0] if starts else len(index)
    if [*starts, len(index)] != list(range(size, len(index) + 1, size)):
        return 0
    image, number, tile, row, col = (plane.view(-1, size) for plane in (image, number, tile, row, col))
    tile = tile - torch.where(number[:, :1] > 0, tile[:, :1], 0)
    if not all(torch.equal(plane[1:], plane[:-1]) for plane in (tile, row, col)):
        return 0
    frames = [*zip(image[:, 0].tolist(), number[:, 0].tolist(), strict=True)]
    if not all(one < other for one, other in pairwise(frames)):
        return 0
    return 0 if bool((_places(torch.stack([tile[0], row[0], col[0]])).diff() <= 0).any()) else size


def _places(grid: Tensor) -> Tensor:
    """(n,) numbers of the places of (3, P) tiles, rows and columns that are places; increasing line by line."""
    tile, row, col = grid[:, grid[1:].amin(0) >= 0]
    return _joined(_joined(tile - tile.min(), row), col) if len(tile) else tile


def table(tokens: VisualTokens, group: int, index: Tensor | None = None, *, by_tile: bool = False) -> Tensor:
    """(F, P) the token of each frame at each place, -1 where there is none.

    Args:
        tokens: The tokens.
        group: The group.
        index: (n,) the tokens that count; the valid ones if left out. Of several at one place, the last counts.
        by_tile: True if each tile is a frame.
    """
    index = tokens.valid[group].nonzero().flatten() if index is None else index
    if not len(index):
        return index.new_zeros(0, 0)
    frame, place = _numbered(tokens, group, index, by_tile)
    rows = index.new_full((int(frame.max()) + 1, int(place.max()) + 1), -1)
    rows.view(-1).scatter_reduce_(0, frame * rows.shape[1] + place, index, "amax")
    return rows


def _numbered(tokens: VisualTokens, group: int, index: Tensor, by_tile: bool = False) -> tuple[Tensor, Tensor]:
    """(n,) the frame and (n,) the place of the tokens in ``index``, numbered from 0."""
    image, number, tile, row, col = (
        plane[group, index] for plane in (tokens.image, tokens.frame, tokens.tile, tokens.row, tokens.col)
    )
    _, frame = torch.unique(_joined(image, tile if by_tile else number), return_inverse=True)
    by_frame, sizes = frame.argsort(stable=True), frame.bincount()
    begin = sizes.cumsum(0) - sizes
    nth = torch.empty_like(frame)  # within the frame
    nth[by_frame] = torch.arange(len(frame), device=frame.device) - begin[frame[by_frame]]
    start = torch.where(number > 0, tile, 0)[by_frame[begin]][frame]  # tiles run through a whole video
    within = torch.zeros_like(tile) if by_tile else tile - start
    grid = _joined(_joined(within - within.min(), row), col)
    _, place = torch.unique(torch.where(torch.minimum(row, col) >= 0, grid, -1 - nth), return_inverse=True)
    return frame, place


def _joined(high: Tensor, low: Tensor) -> Tensor:
    """One number for two of at least 0 each, in the order of the first, then of the second."""
    return high * (low.max() + 1).clamp(min=1) + low
