"""`Merger`: what happens to dropped tokens."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.selection import Selection


class Merger(Part[S]):
    """Merges dropped tokens into the kept ones, or into rows that it adds, or drops them for good.

    Each row of the `Selection` that a merger gets is one group; it is one image if a group holds several images.

    Attributes:
        mixes: False if this merger never merges anything, so that it also serves models that cannot merge tokens.
        matrices: Matrices of rows x tokens, of the tokens' dtype, that it holds at once, the weights included.
    """

    mixes: ClassVar[bool] = True
    matrices: ClassVar[float] = 3

    def matrix_bytes(self, rows: Sequence[int], sizes: Sequence[int], itemsize: int) -> int:
        """Bytes that matrices of rows x tokens take at once; all groups are padded to the largest. Pure."""
        if not self.mixes:
            return 0
        return int(self.matrices * len(sizes) * max(rows, default=0) * max(sizes, default=0) * itemsize)

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """``(before, after)``: rows added before and after the kept tokens of a group. Pure.

        Added rows count against the budget: the selector picks ``rows - before - after`` tokens.

        Args:
            tokens: Candidate tokens of the group.
            rows: The group's budget.
        """
        return 0, 0

    @property
    def uses_cls(self) -> bool:
        """True if `weights` has one more column, for the CLS token; needs the signal ``vision.cls[l]``."""
        return False

    @abstractmethod
    def weights(self, selection: Selection) -> Tensor | None:
        """The weight of each token in each row that the language model gets; None for no merging.

        Args:
            selection: One row per group; ``selection.allotted`` holds each group's budget, `extra` included.

        Returns:
            (B, before + K + after, N) floating point, or (B, before + K + after, N + 1) with `uses_cls`; each of
            ``before``, ``K`` and ``after`` is the largest of any group. The K rows stand for the kept tokens in the
            order of ``selection.arranged``. A group with fewer rows uses the first ones of each of the three sections;
            the others are ignored.
        """
