"""`Partition`: which tokens are selected together."""

from __future__ import annotations

from abc import abstractmethod

from scope_core.parts.base import Part, S
from scope_core.structures.layout import Group, Layout


class Partition(Part[S]):
    """Which tokens are selected together: the whole image, each tile, or other groups."""

    @abstractmethod
    def split(self, layout: Layout) -> tuple[Group, ...]:
        """Groups of spans that hold every candidate token exactly once. Pure."""
