"""Each image by itself."""

from __future__ import annotations

from typing import Literal

from scope_core import Layout
from scope_core.parts import ComponentSpec, Group, Partition, Span


class ByImageSpec(ComponentSpec):
    """Each image by itself, its tiles together."""

    name: Literal["image"] = "image"


class ByImage(Partition[ByImageSpec]):
    """One group per image."""

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """One group for each image."""
        return tuple((Span(number, 0, image.tokens),) for number, image in enumerate(layout.images))
