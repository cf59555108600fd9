"""`Selector`: a whole selection step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from scope_core.parts.base import Part, S
from scope_core.parts.execution import Execution
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens


class Selector(Part[S]):
    """A whole selection step: tokens and counts in, a selection out."""

    @abstractmethod
    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Exactly ``keep[b]`` valid tokens of each group, ``tokens.required`` among them."""

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """How similarities are handled, as far as sizes alone tell: as the selectors inside do, one after the other.

        Pure. To be changed by a selector that makes similarities itself, or gives those inside fewer tokens.

        Args:
            sizes: Tokens of each group.
            itemsize: Bytes of a number: 4 for float32.
            free: Bytes that are free; None where it is not known.
        """
        return Execution.of(part.execution(sizes, itemsize, free) for part in self.inner if isinstance(part, Selector))
