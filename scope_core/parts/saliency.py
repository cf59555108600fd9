"""`SaliencySource`: how much each token matters on its own."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.tokens import VisualTokens


class SaliencySource(Part[S]):
    """How much each token matters on its own.

    Attributes:
        nonnegative: True if every score is at least 0, as powers (``saliency ** alpha``) require.
    """

    nonnegative: ClassVar[bool] = True

    @abstractmethod
    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) floating-point scores; higher means keep. Padding may hold any finite number."""
