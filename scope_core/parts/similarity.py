"""`SimilarityMetric`: how alike two tokens are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.tokens import VisualTokens


class SimilarityMetric(Part[S]):
    """A measure of how alike two tokens are.

    Attributes:
        symmetric: True if ``S[i, j] == S[j, i]``, up to rounding.
        mirrored: True if both are the same to the last bit, in float32 and float64 on the CPU; kernels may then read a
            row in place of a column, which is faster.
        bounds: Lowest and highest possible value; None for unbounded.
        matrices: Number of N x N matrices that `pairwise` holds at once, its result included.
        least_itemsize: Bytes of a number of the matrix at least: 4 for a metric that computes in float32 where tokens
            are of half precision.
        vectors: Optional method ``vectors(tokens)``: (B, N, C) floating-point vectors whose dot products equal
            `pairwise` up to rounding. With it, selection also works where the N x N matrix does not fit into memory.
    """

    symmetric: ClassVar[bool] = True
    mirrored: ClassVar[bool] = False
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    matrices: ClassVar[float] = 2
    least_itemsize: ClassVar[int] = 0
    vectors: Callable[[VisualTokens], Tensor | None] | None = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"vectors": ("pairwise",), "mirrored": ("pairwise",)}

    @abstractmethod
    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) floating point; entry (i, j) is how well token j represents token i.

        Return a new tensor: the caller sets padding to 0 in place.
        """
