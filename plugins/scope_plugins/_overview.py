"""The overview of an image that is cut into tiles, and where on it the tokens of the other tiles lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scope_core import TokensError, VisualTokens

CANVAS = "vision.canvas"


@dataclass(frozen=True)
class Overview:
    """One image with its overview and its other tiles.

    Attributes:
        group: Its group.
        index: (G,) tokens of the overview.
        row: (G,) row of each in the overview's grid.
        col: (G,) column of each.
        tiled: (n,) tokens of the other tiles.
        tile: (n,) tile of each, from 0.
        place: (n, 2) row and column of each on the image put together of these tiles.
        size: (2,) rows and columns of that image.
    """

    group: int
    index: Tensor
    row: Tensor
    col: Tensor
    tiled: Tensor
    tile: Tensor
    place: Tensor
    size: Tensor

    def grid(self, score: Tensor) -> Tensor:
        """(R, C) float64: ``score`` (N,) of the overview's tokens in their grid; 0 where there is no token."""
        cells = score.new_zeros(int(self.row.max()) + 1, int(self.col.max()) + 1, dtype=torch.float64)
        cells[self.row, self.col] = score[self.index].double()
        return cells


def overviews(part: Any, tokens: VisualTokens) -> Iterator[Overview]:
    """The images of several tiles; images of one tile are their own overview and are left out.

    Raises:
        TokensError: an image has several tiles, but none of them is an overview, or the signal is no place.
        SignalError: an image has several tiles, and the signal `CANVAS` was not given.
    """
    if not bool(((tokens.tile > 0) & tokens.valid).any()):
        return
    canvas = tokens.signal(CANVAS)
    if canvas.shape[2] != 4:
        raise TokensError(
            f"{part.kind} {part}: signal '{CANVAS}' has shape {tuple(canvas.shape)}; expected (B, N, 4): row, column, "
            f"rows and columns"
        )
    tokens.check_finite(f"signal '{CANVAS}'", canvas)
    for group in range(tokens.shape[0]):
        for image in torch.unique(tokens.image[group, tokens.valid[group]]).tolist():
            index = ((tokens.image[group] == image) & tokens.valid[group]).nonzero().flatten()
            tiled = canvas[group, index, 2] > 0
            if not bool(tiled.any()):
                continue
            whole, rest = index[~tiled], index[tiled]
            placed = (tokens.row[group, whole] >= 0) & (tokens.col[group, whole] >= 0)
            if not bool(placed.any()):
                raise TokensError(
                    f"{part.kind} {part}: {tokens.name_of(group, int(rest[0]))} has a place on the whole image, but "
                    f"image {image} has no overview with a grid; it is for models that read an overview beside the "
                    f"tiles, with `partition: image`"
                )
            whole = whole[placed]
            place = canvas[group, rest]
            if bool((place[:, 2:] < 1).any()) or bool((place[:, 2:] != place[0, 2:]).any()):
                raise TokensError(
                    f"{part.kind} {part}: signal '{CANVAS}' gives tokens of image {image} different sizes of one "
                    f"image, or a size below 1; all of its tokens but those of the overview hold its rows and columns"
                )
            tile = torch.unique(tokens.tile[group, rest], return_inverse=True)[1]
            row, col = tokens.row[group, whole], tokens.col[group, whole]
            yield Overview(group, whole, row, col, rest, tile, place[:, :2].double(), place[0, 2:].double())


def sampled(cells: Tensor, place: Tensor, size: Tensor) -> Tensor:
    """(n,) values of ``cells`` (R, C), stretched over an image of ``size`` tokens, at the tokens at ``place``.

    Bilinear between the centres of cells, constant beyond the outermost.
    """
    shape = place.new_tensor(cells.shape)
    last = shape - 1
    at = ((place + 0.5) * shape / size - 0.5).clamp(min=0).minimum(last)
    low = at.floor()
    high = (low + 1).minimum(last).long()
    share, first = at - low, low.long()
    top = cells[first[:, 0], first[:, 1]] * (1 - share[:, 1]) + cells[first[:, 0], high[:, 1]] * share[:, 1]
    bottom = cells[high[:, 0], first[:, 1]] * (1 - share[:, 1]) + cells[high[:, 0], high[:, 1]] * share[:, 1]
    return top * (1 - share[:, 0]) + bottom * share[:, 0]


def area_sums(cells: Tensor, found: Overview) -> Tensor:
    """(T,) the sum of ``cells`` (R, C) over the area of each tile; a cell on a border is shared by area."""
    sums = []
    for tile in range(int(found.tile.max()) + 1):
        place = found.place[found.tile == tile]
        spans = [_overlap(cells.shape[axis], place[:, axis], found.size[axis]) for axis in (0, 1)]
        sums.append(spans[0] @ cells @ spans[1])
    return torch.stack(sums)


def _overlap(cells: int, place: Tensor, size: Tensor) -> Tensor:
    """(cells,) how much of each cell lies between the first and the last of ``place``."""
    scale = cells / float(size)
    start, stop = max(float(place.min()), 0.0) * scale, min(float(place.max()) + 1, float(size)) * scale
    edge = torch.arange(cells, dtype=torch.float64, device=place.device)
    return ((edge + 1).clamp(max=stop) - edge.clamp(min=start)).clamp(min=0)
