"""`PositionPolicy`: position ids after pruning."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S


class PositionPolicy(Part[S]):
    """The position ids of the tokens that remain after pruning.

    Attributes:
        gapped: True if position ids may skip numbers. Adapters then pass an explicit mask, and refuse calls in which
            a gap would be read as the start of another sequence.
    """

    gapped: ClassVar[bool] = False
    copies: ClassVar[float] = 0

    @abstractmethod
    def position_ids(self, full: Tensor, index: Tensor, kept: Tensor) -> Tensor | None:
        """Position ids of the shortened prompt.

        Args:
            full: (B, L) position ids of the full prompt.
            index: (B, L') int64 position in the full prompt of each remaining token.
            kept: (B, L') bool, False for padding.

        Returns:
            (B, L') position ids; None to let the model number the shortened prompt itself.
        """
