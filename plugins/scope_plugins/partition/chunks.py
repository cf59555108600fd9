"""Each image divided into runs of consecutive tokens."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Annotated, Literal

from pydantic import Field

from scope_core import Layout
from scope_core.parts import ComponentSpec, Group, Partition, Span


class ChunksSpec(ComponentSpec):
    """Each image divided into runs of consecutive tokens, as equal as whole numbers allow."""

    name: Literal["chunks"] = "chunks"
    count: Annotated[int, Field(ge=1)] = 16
    """Runs per image; images with fewer tokens have one run per token."""


class Chunks(Partition[ChunksSpec]):
    """Runs in token order, about the bands of rows of a grid; the first ``N mod count`` runs have one token more.

    Use it to divide a budget among parts of an image, as HoloV does. Source: HoloV, arXiv 2510.02912.
    """

    def largest(self, size: int) -> int:
        """A share of the group, rounded up; of several images a share of the largest would do."""
        return -(-size // self.spec.count)

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """At most ``count`` groups per image."""
        groups: list[Group] = []
        for number, image in enumerate(layout.images):
            size, more = divmod(image.tokens, self.spec.count)
            sizes = [size + (run < more) for run in range(min(self.spec.count, image.tokens))]
            bounds = pairwise(accumulate(sizes, initial=0))
            groups += [(Span(number, start, stop),) for start, stop in bounds if stop > start]
        return tuple(groups)
