"""`CoverageFunction`: what a token adds to those picked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.parts.kernel import Kernel
from scope_core.structures.tokens import VisualTokens


class CoverageFunction(Part[S]):
    """A set function, given through its marginal gain.

    ``start`` makes a state for the empty set, ``gain`` reads it, ``add`` returns the state with one more
    token per group. A state may be any object; ``add`` may change it in place and return it.

    Attributes:
        uses_similarity: False lets the N x N matrix be skipped; ``start`` then gets None for it.
        monotone: Whether every gain is at least 0.
        submodular: Whether gains never grow as the set grows.
        nonnegative_similarity: Whether similarities below 0 are outside its definition.
        matrices: How many N x N matrices of the similarity's dtype its states take beside the similarity, at most.
        kernel: Optional: the same picks in less time, or without the matrix.
    """

    uses_similarity: ClassVar[bool] = True
    monotone: ClassVar[bool] = False
    submodular: ClassVar[bool] = False
    nonnegative_similarity: ClassVar[bool] = False
    matrices: ClassVar[float] = 2
    kernel: ClassVar[Kernel | None] = None
    shortcuts: ClassVar[Mapping[str, tuple[str, ...]]] = {"kernel": ("start", "gain", "add")}

    @abstractmethod
    def start(self, similarity: Tensor, tokens: VisualTokens) -> Any:
        """The state of the empty set. ``similarity`` is (B, N, N), rows and columns of padding zero."""

    @abstractmethod
    def gain(self, state: Any) -> Tensor:
        """(B, N): what each token would add to the set. Values of tokens already picked are ignored."""

    @abstractmethod
    def add(self, state: Any, pick: Tensor) -> Any:
        """The state after adding token ``pick[b]`` to group b.

        Args:
            state: From `start`, or an earlier `add`.
            pick: (B,) int64. Groups that are already full get an arbitrary index; their gains are ignored.
        """
