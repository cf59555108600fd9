"""What a line of tokens knows about its pairs while tokens are dropped or merged, for `bipartite`."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Line(ABC):
    """The n tokens of a group, of which pairs are compared and tokens folded into others.

    Attributes:
        dtype: That of the similarities.
    """

    dtype: torch.dtype

    @abstractmethod
    def alike(self, rows: Tensor, columns: Tensor) -> Tensor:
        """(R, C) similarity of the tokens ``rows`` (R,) to the tokens ``columns`` (C,)."""

    @abstractmethod
    def fold(self, lost: Tensor, into: Tensor, stays: Tensor) -> None:
        """Merge tokens.

        Args:
            lost: (r,) tokens that are merged, in order.
            into: (r,) place in ``stays`` of the token that each is merged into.
            stays: Tokens that others may be merged into.
        """


class Pairs(Line):
    """Tokens that are dropped: their similarities stay what they are.

    Args:
        pairs: (n, n) similarities.
    """

    def __init__(self, pairs: Tensor) -> None:
        self.pairs, self.dtype = pairs, pairs.dtype

    def alike(self, rows: Tensor, columns: Tensor) -> Tensor:
        """The similarities."""
        return self.pairs[rows[:, None], columns]

    def fold(self, lost: Tensor, into: Tensor, stays: Tensor) -> None:
        """Nothing: dropped tokens leave no trace."""


class Sums(Line):
    """Merged tokens whose similarities are added up, in float64: sums over many exceed the range of half precision.

    Args:
        pairs: (n, n) similarities.
    """

    def __init__(self, pairs: Tensor) -> None:
        self.pairs, self.dtype = pairs.to(torch.float64), pairs.dtype

    def alike(self, rows: Tensor, columns: Tensor) -> Tensor:
        """``S_ij / sqrt(S_ii S_jj)``; 0 if a token's similarity to itself is not above 0."""
        scale = self.pairs.diagonal().clamp(min=0).sqrt()
        scale = scale.masked_fill(scale == 0, float("inf"))
        return self.pairs[rows[:, None], columns].div_(scale[rows, None]).div_(scale[columns])

    def fold(self, lost: Tensor, into: Tensor, stays: Tensor) -> None:
        """Add up rows and columns."""
        into = stays[into]
        self.pairs.index_add_(0, into, self.pairs[lost]).index_add_(1, into, self.pairs[:, lost])


class Vectors(Line):
    """Tokens compared by their vectors.

    Attributes:
        vectors: (n, C), whose dot products are the similarities.
    """

    vectors: Tensor

    def alike(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Products of vectors scaled to length 1; 0 for vectors of zeros."""
        one, other = (_unit(self.vectors.index_select(0, index)) for index in (rows, columns))
        return (one @ other.mT).to(self.dtype)


def _unit(vectors: Tensor) -> Tensor:
    """(n, C) vectors scaled to length 1; zeros stay zeros."""
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    unit: Tensor = vectors / norm.masked_fill(norm == 0, 1)
    return unit


class Totals(Vectors):
    """Merged tokens as the sum of their float32 vectors, in float64: what `Sums` adds up, without the matrix.

    Similarities are rounded to float32, so that those which differ by rounding alone are equal, and ties go by place.

    Args:
        vectors: (n, C), whose dot products are the similarities.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors, self.dtype = vectors.to(torch.float64, copy=True), vectors.dtype

    def fold(self, lost: Tensor, into: Tensor, stays: Tensor) -> None:
        """Add up vectors."""
        self.vectors.index_add_(0, stays[into], self.vectors.index_select(0, lost))


class Means(Vectors):
    """Merged tokens as the mean of their vectors, rounded in each round as published code rounds in half precision.

    Args:
        vectors: (n, C), whose dot products are the similarities.
    """

    def __init__(self, vectors: Tensor) -> None:
        self.vectors, self.dtype = vectors, vectors.dtype
        self.sizes = vectors.new_ones(len(vectors), 1)

    def fold(self, lost: Tensor, into: Tensor, stays: Tensor) -> None:
        """Averages weighted by size; every vector is multiplied and divided, so each rounds in each round."""
        total = self.vectors * self.sizes
        for values in (total, self.sizes):
            added, index = values[None, lost], into[None, :, None].expand(1, -1, values.shape[1])
            values[stays] = values[None, stays].scatter_reduce(1, index, added, "sum")[0]
        self.vectors = total / self.sizes
