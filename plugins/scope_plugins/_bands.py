"""Divide a rectangle of tokens into K cells, as evenly as whole numbers allow."""

from __future__ import annotations

from torch import Tensor

from scope_core.parts import apportion


def bands(rows: int, cols: int, count: int) -> list[int]:
    """The number of cells in each horizontal band, for ``count`` cells shaped about like the ``rows`` x ``cols`` grid.

    Where the cells do not divide evenly among the bands, some bands have one cell more.
    """
    number = min(max(round((count * rows / cols) ** 0.5), -(-count // cols), 1), rows, count)
    return apportion(count, [cols] * number)


def extent(row: Tensor, col: Tensor) -> tuple[int, int] | None:
    """(rows, columns) of tokens that fill a rectangle in raster order; None where they do not."""
    if not len(row) or int(row.min()) < 0:
        return None
    rows, cols = int(row.max() - row.min()) + 1, int(col.max() - col.min()) + 1
    return (rows, cols) if rows * cols == len(row) else None
