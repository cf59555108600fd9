"""A share of the tokens, but at least those of the first frame."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field

from scope_core import Layout
from scope_core.parts import Budget, ComponentSpec, Group


class RatioWithFrameSpec(ComponentSpec):
    """Keep a share of each group's tokens, but at least those of its first frame."""

    shorthand = (float, "keep_ratio")

    name: Literal["ratio_with_frame"] = "ratio_with_frame"
    keep_ratio: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of a group's tokens to keep, above 0 and at most 1; the count is rounded down."""
    frame: Literal["image", "tile"] = "image"
    """The unit that counts as a frame: each image of the group (with ``partition: prompt``), or each tile."""


class RatioWithFrame(Budget[RatioWithFrameSpec]):
    """A share of a video's tokens, but at least those of its first frame.

    Use it for videos, with the constraint `first_frame`, which keeps that frame whole.

    Keeps ``max(first frame, floor(keep_ratio * N))`` tokens of every group, in exact arithmetic.
    Source: EVS, arXiv 2510.14624, whose pruning rate is ``1 - keep_ratio``.
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group."""
        share = Fraction(str(self.spec.keep_ratio))
        counts = []
        for group in groups:
            total = sum(span.tokens for span in group)
            counts.append(max(int(share * total), self._first(layout, group)))
        return tuple(counts)

    def _first(self, layout: Layout, group: Group) -> int:
        """The number of tokens of the group's first frame that has any."""
        image = min((span.image for span in group if span.tokens), default=None)
        if image is None:
            return 0
        spans = [span for span in group if span.image == image]
        if self.spec.frame == "image":
            return sum(span.tokens for span in spans)
        start = 0
        for size in layout.images[image].tiles:
            held = sum(max(0, min(span.stop, start + size) - max(span.start, start)) for span in spans)
            if held:
                return held
            start += size
        return 0
