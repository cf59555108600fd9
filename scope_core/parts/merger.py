"""`Merger`: what becomes of dropped tokens."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.selection import Selection


class Merger(Part[S]):
    """What becomes of dropped tokens.

    A merger sees one group at a time as the rows of a `Selection`; one image where a group holds several images.

    Attributes:
        mixes: False where nothing is ever merged, so that hosts need not be able to.
    """

    mixes: ClassVar[bool] = True

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """Rows that it adds before and after the kept tokens of a group. Pure. They count against the budget.

        Args:
            tokens: Candidate tokens of the group.
            rows: What the budget gives it: the selector picks ``rows - before - after`` tokens.
        """
        return 0, 0

    @property
    def uses_cls(self) -> bool:
        """Whether `weights` has one more column, for the CLS token; needs the signal ``vision.cls[l]``."""
        return False

    @abstractmethod
    def weights(self, selection: Selection) -> Tensor | None:
        """How the rows that the language model gets are mixed from all tokens; None for no merging.

        Args:
            selection: One row per group; ``selection.allotted`` is what the budget gives each, `extra` included.

        Returns:
            (B, before + K + after, N) floating point, (B, before + K + after, N + 1) with `uses_cls`: the most that
            any group has of each. The rows in the middle stand for the kept tokens in the order of
            ``selection.arranged``; a shorter group uses the first rows of each of the three, the rest is ignored.
        """
