"""`Budget`: how many tokens are kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from scope_core.parts.base import Part, S
from scope_core.structures.layout import Group, Layout
from scope_core.structures.tokens import VisualTokens


class Budget(Part[S]):
    """How many tokens each group keeps. Pure: depends on shapes alone.

    Attributes:
        adaptive: Whether `refine` may lower the planned counts once signals are there. Servers that must
            know the prompt's length beforehand refuse such budgets.
        additive: Whether an image keeps as many tokens however a partition cuts it into groups.
    """

    adaptive: ClassVar[bool] = False
    additive: ClassVar[bool] = False

    @abstractmethod
    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Tokens to keep of each group (see `scope_core.structures.layout.fill`).

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
        """

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Counts after looking at the tokens; at most the planned ones."""
        return counts
