"""`PositionPolicy`: position ids after pruning."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S


class PositionPolicy(Part[S]):
    """Position ids after pruning.

    Attributes:
        gapped: Whether the numbers may skip some. Hosts then give an explicit mask, and refuse calls in which
            a gap would be taken for the start of another sequence.
    """

    gapped: ClassVar[bool] = False

    @abstractmethod
    def position_ids(self, full: Tensor, index: Tensor, kept: Tensor) -> Tensor | None:
        """Position ids of the shortened prompt.

        Args:
            full: (B, L) position ids of the full prompt.
            index: (B, L') int64, which position of the full prompt each remaining one was.
            kept: (B, L') bool, False for padding.

        Returns:
            (B, L') position ids; None lets the model number the shortened prompt itself.
        """
