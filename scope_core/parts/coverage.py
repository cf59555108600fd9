"""`CoverageFunction`: how much a token adds to those already picked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.parts.kernel import Kernel
from scope_core.structures.tokens import VisualTokens


class CoverageFunction(Part[S]):
    """A set function, defined by its marginal gain: how much a token adds to those already picked.

    ``start`` makes the state of the empty set, ``gain`` reads a state, ``add`` returns the state with one more
    token per group. A state may be any object; ``add`` may change it in place and return it.

    Attributes:
        uses_similarity: If False, no N x N matrix is computed; ``start`` then gets None for it.
        monotone: True if every gain is at least 0.
        submodular: True if gains never grow as the set grows.
        nonnegative_similarity: True if the function is undefined for similarities below 0.
        matrices: Number of N x N matrices of the similarity's dtype that a state holds beside the similarity, at most.
        kernel: Optional: computes the same picks faster, or without the matrix.
    """

    uses_similarity: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    submodular: ClassVar[bool] = False
    nonnegative_similarity: ClassVar[bool] = False
    matrices: ClassVar[float] = 2
    kernel: ClassVar[Kernel | None] = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"kernel": ("start", "gain", "add")}
    copies: ClassVar[float] = 0

    @abstractmethod
    def start(self, similarity: Tensor, tokens: VisualTokens) -> Any:
        """The state of the empty set. ``similarity`` is (B, N, N), zero in rows and columns of padding."""

    @abstractmethod
    def gain(self, state: Any) -> Tensor:
        """(B, N) marginal gain of each token. Values of tokens already picked are ignored."""

    @abstractmethod
    def add(self, state: Any, pick: Tensor) -> Any:
        """The state after adding token ``pick[b]`` to group b.

        Args:
            state: From `start` or an earlier `add`.
            pick: (B,) int64. A group that is already full gets an arbitrary index; its gains are ignored.
        """
