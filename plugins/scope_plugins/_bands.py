"""A rectangle of tokens divided into K cells, as evenly as whole numbers allow."""

from __future__ import annotations

from torch import Tensor

from scope_core.parts import apportion


def bands(rows: int, cols: int, count: int) -> list[int]:
    """Cells of each horizontal band when ``rows`` x ``cols`` is cut into ``count`` cells of about its proportions.

    A count that is no product of rows and columns gives some bands one cell more.
    """
    number = min(max(round((count * rows / cols) ** 0.5), -(-count // cols), 1), rows, count)
    return apportion(count, [cols] * number)


def extent(row: Tensor, col: Tensor) -> tuple[int, int] | None:
    """(rows, columns) of tokens that fill a rectangle in raster order; None where they do not."""
    if not len(row) or int(row.min()) < 0:
        return None
    rows, cols = int(row.max() - row.min()) + 1, int(col.max() - col.min()) + 1
    return (rows, cols) if rows * cols == len(row) else None
