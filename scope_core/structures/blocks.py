"""Similarities that are dot products, computed a block at a time when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import frexp

import torch
from torch import Tensor

from scope_core.display import brief_repr
from scope_core.errors import PluginOutputError

GRID = 26
"""Binary digits after the point of a vector's entries: products have 52, so sums below 2 are exact in float64."""
LONGEST = 1.25
"""Maximal length of the scaled vectors, so that no dot product exceeds its square."""
EXACT = 1.5 * 2.0**52
"""Adding and then subtracting it rounds a small float64 to a whole number."""
TALL, WIDE = 512, 1024
"""Rows and columns of a block: 4 MB, which fits into caches. Accelerators use 8 times as many of both."""
TILES = 4
"""Maximal number of blocks in memory at once."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The similarity matrix of one group, computed from vectors a few rows at a time. Symmetric.

    An entry is the same to the last bit in every block: vectors are rounded to multiples of 2^-26 of about the largest
    length, so that float64 products and all their partial sums are exact, in any order of summation. Entries are then
    rounded to a grid on which sums of a column are exact too.

    Attributes:
        vectors: (N, C) float64 on the grid; padding is zero.
        own: (N,) float64, each token's similarity to itself; exactly 1 if it differs from 1 by rounding alone.
        rounder: Constant that rounds a dot product to the grid of entries when added and subtracted.
        unit: Power of two that dot products are multiplied by.
        size: Maximal rows and columns of a block; None for the device's default.
    """

    vectors: Tensor
    own: Tensor
    rounder: float
    unit: float
    size: tuple[int, int] | None = None

    __repr__ = brief_repr

    @classmethod
    def of(cls, vectors: Tensor, valid: Tensor) -> Blocks:
        """Blocks of dot products.

        Args:
            vectors: (N, C) floating point.
            valid: (N,) bool; vectors of other tokens count as zero.

        Raises:
            PluginOutputError: a valid vector is not finite.
        """
        exact = vectors.detach().to(torch.float64, copy=True)
        exact[~valid] = 0
        longest = float(torch.linalg.vector_norm(exact, dim=1).amax()) if exact.numel() else 0.0
        if not longest < 1e150:
            raise PluginOutputError(f"a vector has length {longest}; expected finite numbers and a length below 1e150")
        power = max(frexp(longest / LONGEST)[1], -1000)
        vector_rounder = EXACT * 2.0**-GRID
        exact.mul_(2.0**-power).add_(vector_rounder).sub_(vector_rounder)
        unit, rounder = 4.0**power, EXACT * 2.0 ** (1 + len(exact).bit_length() - 52)
        own = torch.einsum("nc,nc->n", exact, exact).add_(rounder).sub_(rounder).mul_(unit)
        return cls(exact, torch.where((own - 1).abs() < 2.0**-20, 1.0, own), rounder, unit)

    @property
    def spans(self) -> list[slice]:
        """All columns, in slices as wide as a block."""
        _, wide = self._size
        return [slice(start, min(start + wide, len(self.own))) for start in range(0, len(self.own), wide)]

    def row(self, token: Tensor) -> Tensor:
        """(N,) float64: the similarity of all tokens to ``token``, a tensor of one index."""
        products = self._rounded(torch.mv(self.vectors, self.vectors.index_select(0, token.view(1))[0]))
        return products.scatter_(0, token.view(1), self.own.index_select(0, token.view(1)))

    def rows(self, index: Tensor) -> Iterator[tuple[Tensor, slice, Tensor]]:
        """``(rows, columns, block)`` for the given rows and all columns.

        A block may be modified; the next one overwrites it.

        Args:
            index: (R,) int64 rows.
        """
        buffer = self._buffer()
        for rows in torch.split(index, self._size[0]):
            row_vectors = self.vectors.index_select(0, rows)
            for columns in self.spans:
                block = self._products(row_vectors, self.vectors[columns], buffer)
                column = rows - columns.start
                inside, column = (column >= 0) & (column < block.shape[1]), column.clamp(0, block.shape[1] - 1)[:, None]
                diagonal = torch.where(inside, self.own[rows], block.gather(1, column)[:, 0])
                yield rows, columns, block.scatter_(1, column, diagonal[:, None])

    def triangle(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """``(rows, columns, block)`` that together hold every pair of tokens once.

        Blocks on the diagonal have equal rows and columns, and hold each of their pairs in both orders. A block may be
        modified; the next one overwrites it.
        """
        buffer = self._buffer()
        count, (tall, wide) = len(self.own), self._size
        for top in range(0, count, tall):
            rows = slice(top, min(top + tall, count))
            square = self._products(self.vectors[rows], self.vectors[rows], buffer)
            square.diagonal().copy_(self.own[rows])
            yield rows, rows, square
            for left in range(rows.stop, count, wide):
                columns = slice(left, min(left + wide, count))
                yield rows, columns, self._products(self.vectors[rows], self.vectors[columns], buffer)

    def _buffer(self) -> Tensor:
        """Memory that all blocks share one after the other, so that it is allocated once."""
        count, (tall, wide) = len(self.own), self._size
        return self.own.new_empty(min(tall, count) * min(max(tall, wide), count))

    def _products(self, rows: Tensor, columns: Tensor, buffer: Tensor) -> Tensor:
        block = buffer[: len(rows) * len(columns)].view(len(rows), len(columns))
        return self._rounded(torch.mm(rows, columns.T, out=block))

    def _rounded(self, products: Tensor) -> Tensor:
        products.add_(self.rounder).sub_(self.rounder)
        return products.mul_(self.unit) if self.unit != 1 else products

    @property
    def _size(self) -> tuple[int, int]:
        times = 1 if self.vectors.device.type == "cpu" else 8
        return self.size or (TALL * times, WIDE * times)


def blocks_bytes(count: int, width: int, device: torch.device | str = "cpu", itemsize: int = 4) -> int:
    """Bytes that selection in blocks takes: the vectors in their own dtype and in float64, and some blocks.

    Args:
        count: Tokens of the largest group.
        width: Length of a token's vector.
        device: Device of the tokens; accelerators use larger blocks.
        itemsize: Bytes of a number of the vectors as given.
    """
    times = 1 if torch.device(device).type == "cpu" else 8
    return (8 + itemsize) * count * width + 8 * TILES * min(TALL * times, count) * min(WIDE * times, count)
