"""A regular grid of tokens: the control that looks at nothing."""

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
    """K cells of a grid with the tile's proportions, each represented by its centre; scores are ignored.

    K that is no product of rows and columns gives some rows one token more. Tokens that do not fill a
    rectangle (or carry no position) are taken at an even stride in raster order instead.
    """

    equivariant = False

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in raster order, required tokens first."""
        tokens = problem.tokens
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, count in enumerate(keep):
            must = tokens.required[group] & tokens.valid[group]
            free = tokens.valid[group] & ~must
            image, tile = tokens.image[group], tokens.tile[group]
            tiles = sorted(set(zip(image[free].tolist(), tile[free].tolist(), strict=True)))
            members = [(free & (image == one) & (tile == other)).nonzero().flatten() for one, other in tiles]
            shares = apportion(max(count - int(must.sum()), 0), [len(m) for m in members])
            for index, share in zip(members, shares, strict=True):
                places = _places(tokens.row[group][index], tokens.col[group][index], share)
                score[group, index[torch.tensor(places, dtype=torch.int64, device=index.device)]] = 1
        return rank(score, torch.ones_like(score), problem, keep)


def _places(row: Tensor, col: Tensor, count: int) -> list[int]:
    """Positions, among the given tokens in raster order, of ``count`` evenly spaced ones."""
    total = len(row)
    if count == 0 or total == 0:
        return []
    shape = extent(row, col)
    if shape is None:
        return [(2 * i + 1) * total // (2 * count) for i in range(count)]
    rows, cols = shape
    per_band = bands(rows, cols, count)
    return [
        ((2 * band + 1) * rows // (2 * len(per_band))) * cols + (2 * i + 1) * cols // (2 * here)
        for band, here in enumerate(per_band)
        for i in range(here)
    ]
