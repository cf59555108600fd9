"""Each tile by itself."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

from scope_core import Layout
from scope_core.parts import ComponentSpec, Group, Partition, Span


class ByTileSpec(ComponentSpec):
    """Each tile (crop) of each image by itself."""

    name: Literal["tile"] = "tile"


class ByTile(Partition[ByTileSpec]):
    """One group per tile, as published code prunes the crops of LLaVA-NeXT."""

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """One group for each tile that has tokens."""
        return tuple(
            (Span(number, start, stop),)
            for number, image in enumerate(layout.images)
            for start, stop in pairwise(accumulate(image.tiles, initial=0))
            if stop > start
        )
