"""`Constraint`: tokens that must stay or must go."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.tokens import VisualTokens


class Constraint(Part[S]):
    """Tokens that must stay or must go."""

    copies: ClassVar[float] = 0

    def must_keep(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool, True for tokens that must be kept; None if there are none."""
        return None

    def must_drop(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool, True for tokens that must be dropped; None if there are none."""
        return None
