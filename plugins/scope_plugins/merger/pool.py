"""Average pooling: the kept rows become the means of the cells of a coarser token grid."""

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
    """The image at a lower resolution; only the number of tokens kept in each tile matters.

    Use it as a control: it needs no choice of tokens. Row k is the mean of the tokens in cell k.

    A tile with K kept tokens is divided into K cells of about its proportions: bands of rows, each divided into
    columns; where K does not divide evenly, some bands have one column more. Bounds are those of adaptive average
    pooling, from ``floor(i n / k)`` to ``ceil((i + 1) n / k)``, so neighbours overlap by one token if n / k is not a
    whole number. Tokens that do not fill a rectangle (or have no grid) are pooled in their order.
    """

    reads_places = True

    equivariant = False

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N) weights, rows summing to 1; a tile's k-th kept token in raster order becomes its k-th cell."""
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
    """The positions, among the given tokens, of those in each of ``count`` cells in raster order."""
    shape = extent(row, col)
    if shape is None:
        return [list(range(*_bounds(i, len(row), count))) for i in range(count)]
    rows, cols = shape
    per_band = bands(rows, cols, count)
    return [
        [r * cols + c for r in range(*_bounds(band, rows, len(per_band))) for c in range(*_bounds(i, cols, cells))]
        for band, cells in enumerate(per_band)
        for i in range(cells)
    ]


def _bounds(i: int, size: int, parts: int) -> tuple[int, int]:
    return i * size // parts, -(-(i + 1) * size // parts)
