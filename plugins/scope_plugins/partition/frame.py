"""Each frame of a video by itself."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

from scope_core import Layout
from scope_core.parts import ComponentSpec, Group, GroupSize, Partition, Span


class ByFrameSpec(ComponentSpec):
    """Each frame of each video by itself, and each image."""

    name: Literal["frame"] = "frame"


class ByFrame(Partition[ByFrameSpec]):
    """One group per frame, so that work grows with the number of frames, not with its square; an image is one frame.

    Use it for long videos, and where every moment must keep something. In a selector such as `quota`, it shares the
    count of a whole video among its frames.
    """

    copies = 0

    def largest(self, size: int) -> int:
        """The largest frame."""
        frames = getattr(size, "frames", ())
        return GroupSize(max(frames), (max(frames),)) if frames else size

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """One group for each frame that has tokens.

        Raises:
            BudgetError: the layout is a later stage's, in which a video is no longer divided by frame.
        """
        return tuple(
            (Span(number, start, stop),)
            for number, image in enumerate(layout.images)
            for start, stop in pairwise(accumulate(image.frame_tokens, initial=0))
            if stop > start
        )
