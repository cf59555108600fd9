"""The places of tokens: the patch, on a tile of its image, that each token stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scope_core.structures.tokens import VisualTokens

Cell = tuple[int, int, int]
"""(tile, row, column) of a patch."""


@dataclass(frozen=True)
class Places:
    """The places of one image's tokens.

    Attributes:
        cells: The patch of each of the N tokens; None for padding and for tokens outside the grid.
        valid: Number of valid tokens.
    """

    cells: tuple[Cell | None, ...]
    valid: int

    @classmethod
    def of(cls, tokens: VisualTokens, image: int) -> Places:
        """The places of the tokens in row ``image``."""
        rows = (tokens.tile[image], tokens.row[image], tokens.col[image], tokens.valid[image])
        found = [
            (tile, row, column) if valid and min(tile, row, column) >= 0 else None
            for tile, row, column, valid in zip(*(row.tolist() for row in rows), strict=True)
        ]
        return cls(tuple(found), int(tokens.valid[image].sum()))

    @cached_property
    def present(self) -> frozenset[Cell]:
        """The patches that have a token."""
        return frozenset(cell for cell in self.cells if cell is not None)

    @cached_property
    def extents(self) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each tile, as far as tokens reach; (0, 0) for a tile without tokens. Empty: no places."""
        reach: list[tuple[int, int]] = [(0, 0)] * (1 + max((tile for tile, _, _ in self.present), default=-1))
        for tile, row, column in self.present:
            reach[tile] = max(reach[tile][0], row + 1), max(reach[tile][1], column + 1)
        return tuple(reach)

    @property
    def full(self) -> bool:
        """True if every patch of every tile, as far as tokens reach, has a token."""
        return len(self.present) == sum(rows * columns for rows, columns in self.extents)

    def grids(self, sizes: Sequence[tuple[int, int] | None]) -> tuple[tuple[int, int], ...]:
        """Rows and columns of each tile.

        Models drop the patches of padding, so tokens may not reach the last row of a tile. In most models all tiles
        have one grid, that of the tile with the most patches; a tile has a grid of its own if it does not fit into
        that one, or if the shape of its pixels says so: patches are nearly square.

        Args:
            sizes: (width, height) of each tile in pixels; None if unknown.
        """
        largest = max(self.extents, key=lambda grid: grid[0] * grid[1])
        found = []
        for own, size in zip(self.extents, sizes, strict=True):
            fits = own[0] <= largest[0] and own[1] <= largest[1]
            better = 0 in own or size is None or _stretch(largest, size) <= _stretch(own, size)
            found.append(largest if fits and better else own)
        return tuple(found)


def _stretch(grid: tuple[int, int], size: tuple[int, int]) -> float:
    """How far from square a grid's patches are on an image of ``size``: 1 for squares, 2 for twice as long."""
    (rows, columns), (width, height) = grid, size
    ratio = (width / columns) / (height / rows)
    return max(ratio, 1 / ratio)
