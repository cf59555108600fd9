"""`Budget`: how many tokens are kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from scope_core.parts.base import Part, S
from scope_core.structures.layout import Group, Layout, Plan
from scope_core.structures.tokens import VisualTokens


class Budget(Part[S]):
    """The number of tokens that each group keeps.

    Attributes:
        adaptive: True if `refine` may lower the planned counts once signals are available. Servers that must
            know the prompt's length beforehand refuse such budgets.
        additive: True if an image keeps the same number of tokens however a partition divides it into groups.
    """

    adaptive: ClassVar[bool] = False
    additive: ClassVar[bool] = False
    copies: ClassVar[float] = 0

    @abstractmethod
    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Tokens to keep of each group (`scope_core.parts.fill` helps). Pure: depends on the layout alone.

        Raises:
            BudgetError: the images cannot meet the budget; names the image.
        """

    def refine(self, counts: tuple[int, ...], tokens: VisualTokens) -> tuple[int, ...]:
        """Final counts for these tokens, none above the planned one."""
        return counts

    def refine_planned(self, counts: tuple[int, ...], tokens: VisualTokens, plan: Plan) -> tuple[int, ...]:
        """`refine`, for budgets that also need the whole images' sizes or the stages: the plan has both.

        Override one of the two. By default `refine`.
        """
        return self.refine(counts, tokens)
