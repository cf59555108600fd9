"""`SimilarityMetric`: how alike two tokens are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.tokens import VisualTokens


class SimilarityMetric(Part[S]):
    """How alike two tokens are.

    Attributes:
        symmetric: Whether ``S[i, j] == S[j, i]``.
        bounds: Lowest and highest possible value; None where unbounded.
        matrices: How many N x N matrices `pairwise` holds at once, its result included.
        vectors: Optional method ``vectors(tokens)``: (B, N, C) floating-point vectors whose dot products `pairwise`
            gives, up to rounding. With them, more tokens can be selected from than their matrix has room for.
    """

    symmetric: ClassVar[bool] = True
    bounds: ClassVar[tuple[float | None, float | None]] = (None, None)
    matrices: ClassVar[float] = 2
    vectors: Callable[[VisualTokens], Tensor | None] | None = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"vectors": ("pairwise",)}

    @abstractmethod
    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) floating point: entry (i, j) is how well token j stands for token i.

        A tensor of its own, which the caller may change: padding is set to 0 in place.
        """
