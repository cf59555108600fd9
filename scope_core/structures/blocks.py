"""Similarities that are dot products, computed a block at a time when they are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import frexp

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError

GRID = 26
"""Binary places of a vector's entries: products have 52, and partial sums of less than 2 are exact in float64."""
LONGEST = 1.25
"""No vector is longer, so no sum of products of two exceeds its square."""
EXACT = 1.5 * 2.0**52
"""Added and taken away, it rounds a small float64 to a whole number."""
TALL, WIDE = 512, 1024
"""Rows and columns of a block: 4 MB, which caches hold. Accelerators take 8 times as many of both."""
TILES = 4
"""Blocks that are held at once, at most."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """Similarities of one group, computed from vectors a few rows at a time. Symmetric.

    An entry is the same number to the last bit in whatever block it is computed: vectors are rounded to multiples of
    2^-26 of their largest length, so that float64 products and all partial sums of them are exact, and no order of
    summation matters. Entries are then rounded to a grid on which sums of a column are exact too.

    Attributes:
        vectors: (N, C) float64 on the grid; padding is zero.
        own: (N,) float64, each token's similarity to itself; exactly 1 where rounding alone makes a difference.
        rounder: Rounds a dot product to the grid of entries.
        unit: Power of two that dot products are multiplied by.
        size: Rows and columns of a block, at most; None for what suits the device.
    """

    vectors: Tensor
    own: Tensor
    rounder: float
    unit: float
    size: tuple[int, int] | None = None

    @classmethod
    def of(cls, vectors: Tensor, valid: Tensor) -> Blocks:
        """Blocks of dot products.

        Args:
            vectors: (N, C) floating point.
            valid: (N,) bool; the others' vectors count as zero.

        Raises:
            PluginOutputError: a valid vector is not finite.
        """
        exact = vectors.detach().to(torch.float64, copy=True)
        exact[~valid] = 0
        longest = float(torch.linalg.vector_norm(exact, dim=1).amax()) if exact.numel() else 0.0
        if not longest < 1e150:
            raise PluginOutputError(f"a vector has length {longest}; expected finite numbers")
        power = max(frexp(longest / LONGEST)[1], -1000)
        rounder = EXACT * 2.0**-GRID
        exact.mul_(2.0**-power).add_(rounder).sub_(rounder)
        unit, coarse = 4.0**power, EXACT * 2.0 ** (1 + len(exact).bit_length() - 52)
        own = torch.einsum("nc,nc->n", exact, exact).add_(coarse).sub_(coarse).mul_(unit)
        return cls(exact, torch.where((own - 1).abs() < 2.0**-20, 1.0, own), coarse, unit)

    @property
    def spans(self) -> list[slice]:
        """Columns, a few at a time."""
        _, wide = self._size
        return [slice(start, min(start + wide, len(self.own))) for start in range(0, len(self.own), wide)]

    def row(self, token: Tensor) -> Tensor:
        """(N,) float64: the similarity of all tokens to one, a tensor of one index."""
        made = self._rounded(torch.mv(self.vectors, self.vectors.index_select(0, token.view(1))[0]))
        return made.scatter_(0, token.view(1), self.own.index_select(0, token.view(1)))

    def rows(self, index: Tensor) -> Iterator[tuple[Tensor, slice, Tensor]]:
        """``(rows, columns, block)`` for the given rows and all columns.

        A block may be written to; the next one takes its place.

        Args:
            index: (R,) int64.
        """
        room = self._room()
        for few in torch.split(index, self._size[0]):
            mine = self.vectors.index_select(0, few)
            for columns in self.spans:
                block = self._products(mine, self.vectors[columns], room)
                place = few - columns.start
                inside, place = (place >= 0) & (place < block.shape[1]), place.clamp(0, block.shape[1] - 1)[:, None]
                here = torch.where(inside, self.own[few], block.gather(1, place)[:, 0])
                yield few, columns, block.scatter_(1, place, here[:, None])

    def triangle(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """``(rows, columns, block)`` that hold every pair once: on the diagonal, where the two are equal, both ways.

        A block may be written to; the next one takes its place.
        """
        room = self._room()
        count, (tall, wide) = len(self.own), self._size
        for top in range(0, count, tall):
            rows = slice(top, min(top + tall, count))
            square = self._products(self.vectors[rows], self.vectors[rows], room)
            square.diagonal().copy_(self.own[rows])
            yield rows, rows, square
            for left in range(rows.stop, count, wide):
                columns = slice(left, min(left + wide, count))
                yield rows, columns, self._products(self.vectors[rows], self.vectors[columns], room)

    def _room(self) -> Tensor:
        """For one block after the other, so that no allocator has to find it anew."""
        count, (tall, wide) = len(self.own), self._size
        return self.own.new_empty(min(tall, count) * min(max(tall, wide), count))

    def _products(self, rows: Tensor, columns: Tensor, room: Tensor) -> Tensor:
        block = room[: len(rows) * len(columns)].view(len(rows), len(columns))
        return self._rounded(torch.mm(rows, columns.T, out=block))

    def _rounded(self, products: Tensor) -> Tensor:
        products.add_(self.rounder).sub_(self.rounder)
        return products.mul_(self.unit) if self.unit != 1 else products

    @property
    def _size(self) -> tuple[int, int]:
        times = 1 if self.vectors.device.type == "cpu" else 8
        return self.size or (TALL * times, WIDE * times)


def blocks_bytes(count: int, width: int, device: torch.device | str = "cpu", itemsize: int = 4) -> int:
    """Bytes that selecting in blocks takes: vectors as the similarity gives them and in float64, and some blocks.

    Args:
        count: Tokens of the largest group.
        width: Numbers of a token's vector.
        device: Where; accelerators take larger blocks.
        itemsize: Bytes of such a number.
    """
    times = 1 if torch.device(device).type == "cpu" else 8
    return (8 + itemsize) * count * width + 8 * TILES * min(TALL * times, count) * min(WIDE * times, count)
