"""Average pooling: the kept rows become the cells of the image's shrunken token grid."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger
from scope_plugins._bands import bands, extent


class PoolSpec(ComponentSpec):
    """The mean of each cell of a coarser grid."""

    name: Literal["pool"] = "pool"


class Pool(Merger[PoolSpec]):
    """Row k is the mean of the tokens in cell k; only how many were kept in each tile matters.

    A tile with K kept tokens is cut into K cells of its own proportions: bands of rows, each cut into columns; where
    K is no product of the two, some bands have one column more. Bounds are those of adaptive average pooling, from
    ``floor(i n / k)`` to ``ceil((i + 1) n / k)``, so neighbours overlap by one token where n / k is no whole number.
    Tokens that fill no rectangle (or carry no grid) are pooled along their order.
    """

    equivariant = False

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N), rows of kept tokens summing to 1; a tile's k-th kept token in raster order is its k-th cell."""
        tokens, order = selection.tokens, selection.arranged
        weights = tokens.features.new_zeros((*order.shape, tokens.shape[1]))
        for group, mask in enumerate(selection.mask):
            places = zip(tokens.image[group].tolist(), tokens.tile[group].tolist(), strict=True)
            where = {token: row for row, token in enumerate(order[group].tolist()) if token >= 0}
            tiles: dict[tuple[int, int], list[int]] = {}
            for token, (place, valid) in enumerate(zip(places, tokens.valid[group].tolist(), strict=True)):
                if valid:
                    tiles.setdefault(place, []).append(token)
            for members in tiles.values():
                kept = [token for token in members if bool(mask[token])]
                index = torch.tensor(members, device=order.device)
                cells = _cells(tokens.row[group][index], tokens.col[group][index], len(kept)) if kept else []
                for token, cell in zip(kept, cells, strict=True):
                    weights[group, where[token], index[torch.tensor(cell, device=order.device)]] = 1 / len(cell)
        return weights


def _cells(row: Tensor, col: Tensor, count: int) -> list[list[int]]:
    """For each of ``count`` cells in raster order, the positions among the given tokens that lie in it."""
    shape = extent(row, col)
    if shape is None:
        return [list(range(*_bounds(i, len(row), count))) for i in range(count)]
    rows, cols = shape
    per_band = bands(rows, cols, count)
    return [
        [r * cols + c for r in range(*_bounds(band, rows, len(per_band))) for c in range(*_bounds(i, cols, here))]
        for band, here in enumerate(per_band)
        for i in range(here)
    ]


def _bounds(i: int, size: int, parts: int) -> tuple[int, int]:
    return i * size // parts, -(-(i + 1) * size // parts)
