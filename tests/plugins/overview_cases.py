"""Tokens of images of an overview and tiles, cut by unpadding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scope_core import VisualTokens

ATTENTION = "vision.cls_attention[-1]"
SHAPES = [
    (4, (2, 2), (0, 0)),
    (4, (2, 2), (1, 0)),
    (5, (2, 2), (0, 3)),
    (4, (1, 3), (0, 1)),
    (5, (3, 1), (2, 0)),
    (3, (1, 2), (1, 0)),
    (3, (2, 1), (0, 0)),
    (3, (1, 1), (0, 1)),
]
"""Side of the overview's grid, rows and columns of tiles, rows and columns cut off at each border."""


@dataclass(frozen=True)
class Case:
    """One image.

    Attributes:
        overview: (G, G) attention.
        canvas: (H, W) attention of the tiles without what is cut off.
        tiles: (H, W) tile of each, from 0.
        tokens: The same as tokens, the overview first, then tile by tile.
        place: (N, 2) row and column of each token, in the overview or on the canvas.
    """

    overview: np.ndarray
    canvas: np.ndarray
    tiles: np.ndarray
    tokens: VisualTokens
    place: Tensor


def case(side: int, grid: tuple[int, int], cut: tuple[int, int], seed: int) -> Case:
    random = np.random.default_rng(seed)
    overview = random.random((side, side)) ** 3
    full = random.random((grid[0] * side, grid[1] * side)) ** 3
    inner = tuple(slice(off, size - off) for off, size in zip(cut, full.shape, strict=True))
    canvas = full[inner]
    tile = np.add.outer(np.arange(full.shape[0]) // side * grid[1], np.arange(full.shape[1]) // side)[inner]
    rows: list[list[float]] = [[0, r, c, 0, 0, 0, 0, overview[r, c], r, c] for r in range(side) for c in range(side)]
    for number in range(grid[0] * grid[1]):
        for r, c in zip(*np.nonzero(tile == number), strict=True):
            inside = [1 + number, (r + cut[0]) % side, (c + cut[1]) % side]
            rows.append([*inside, r, c, *canvas.shape, canvas[r, c], r, c])
    table = torch.tensor(rows, dtype=torch.float64)
    tokens = VisualTokens.of(
        torch.ones(1, len(rows), 2, dtype=torch.float64),
        tile=table[None, :, 0].long(),
        row=table[None, :, 1].long(),
        col=table[None, :, 2].long(),
        signals={"vision.canvas": table[None, :, 3:7], ATTENTION: table[None, None, :, 7]},
    )
    return Case(overview, canvas, tile, tokens, table[:, 8:].long())
