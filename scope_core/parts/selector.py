"""`Selector`: a whole selection step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from scope_core.parts.base import Part, S
from scope_core.parts.execution import Execution
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


class Selector(Part[S]):
    """A whole selection step: takes tokens and counts, returns a selection."""

    @property
    def adaptive(self) -> bool:
        """True if it may keep fewer tokens than it is asked for, as the tokens decide; plans then state upper bounds.

        By default true if a selector inside is. Servers that must know the prompt's length beforehand refuse it.
        """
        return any(part.adaptive for part in self.inner if isinstance(part, Selector))

    @abstractmethod
    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Exactly ``keep[b]`` valid tokens of each group b, all of ``tokens.required`` among them.

        At most ``keep[b]``, if `adaptive`.
        """

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """The way in which picks are computed and the memory it takes, planned from sizes alone. Pure.

        By default that of the selectors inside, one after the other. Override it in a selector that computes
        similarities itself, or that passes fewer tokens to the selectors inside.

        Args:
            sizes: Tokens of each group.
            itemsize: Bytes of a number: 4 for float32.
            free: Free bytes; None if unknown.
        """
        return Execution.of(part.execution(sizes, itemsize, free) for part in self.inner if isinstance(part, Selector))
