"""A regular grid of tokens, chosen without looking at them: a control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from scope_core import rank
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem, apportion
from scope_plugins._bands import bands, extent


class GridSpec(ComponentSpec):
    """Evenly spaced tokens."""

    name: Literal["grid"] = "grid"


class Grid(Optimizer[GridSpec]):
    """The centres of K cells of a grid with about the tile's proportions; scores are ignored.

    Where K does not divide evenly, some rows have one token more. Tokens that do not fill a rectangle (or have no
    position) are picked at an even stride in raster order instead.
    """

    reads_places = True

    equivariant = False

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in raster order, required tokens first."""
        tokens = problem.tokens
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, count in enumerate(keep):
            required = tokens.required[group] & tokens.valid[group]
            free = tokens.valid[group] & ~required
            image, tile = tokens.image[group], tokens.tile[group]
            tiles = sorted(set(zip(image[free].tolist(), tile[free].tolist(), strict=True)))
            members = [(free & (image == i) & (tile == t)).nonzero().flatten() for i, t in tiles]
            shares = apportion(max(count - int(required.sum()), 0), [len(m) for m in members])
            for index, share in zip(members, shares, strict=True):
                places = _places(tokens.row[group][index], tokens.col[group][index], share)
                score[group, index[torch.tensor(places, dtype=torch.int64, device=index.device)]] = 1
        return rank(score, torch.ones_like(score), problem, keep, by_place=True)


def _places(row: Tensor, col: Tensor, count: int) -> list[int]:
    """Positions of ``count`` evenly spaced tokens among the given ones in raster order."""
    total = len(row)
    if count == 0 or total == 0:
        return []
    shape = extent(row, col)
    if shape is None:
        return [(2 * i + 1) * total // (2 * count) for i in range(count)]
    rows, cols = shape
    per_band = bands(rows, cols, count)
    return [
        ((2 * band + 1) * rows // (2 * len(per_band))) * cols + (2 * i + 1) * cols // (2 * cells)
        for band, cells in enumerate(per_band)
        for i in range(cells)
    ]
