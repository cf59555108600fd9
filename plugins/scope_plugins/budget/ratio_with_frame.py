"""A share of the tokens, but at least those of the first frame, or of the first frames of all windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from scope_core import Layout
from scope_core.parts import Budget, ComponentSpec, Group
from scope_plugins._fractions import fraction


class RatioWithFrameSpec(ComponentSpec):
    """Keep a share of each group's tokens, but at least those of its first frame."""

    shorthand = (float, "keep_ratio")

    name: Literal["ratio_with_frame"] = "ratio_with_frame"
    keep_ratio: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Share of a group's tokens to keep, above 0 and at most 1; the count is rounded down."""
    frame: Literal["image", "tile"] = "image"
    """The unit that counts as a frame: each frame of a video and each image of the group, or each tile."""
    window: Annotated[int, Field(ge=1)] | None = None
    """Frames of a window: at least the first frame of each is kept, as the constraint `window_start` asks. Null: the
    first frame alone."""

    @model_validator(mode="after")
    def _frames_have_windows(self) -> Self:
        if self.window is not None and self.frame == "tile":
            raise ValueError("window counts the frames of a video; with frame: tile, leave it out")
        return self


class RatioWithFrame(Budget[RatioWithFrameSpec]):
    """A share of a video's tokens, but at least those of its first frame.

    Use it for videos, with the constraint `first_frame` or `window_start`, which keep those frames whole.

    Keeps ``max(first frames, floor(keep_ratio * N))`` tokens of every group, in exact arithmetic.
    Source: EVS, arXiv 2510.14624, whose pruning rate is ``1 - keep_ratio``; DyCoke, arXiv 2411.15024 (windows).
    """

    def plan(self, layout: Layout, groups: Sequence[Group]) -> tuple[int, ...]:
        """Counts per group."""
        share = fraction(self.spec.keep_ratio)
        counts = []
        for group in groups:
            total = sum(span.tokens for span in group)
            window = self.spec.window
            first = self._first(layout, group) if window is None else sum(_frames(layout, group)[::window])
            counts.append(max(int(share * total), first))
        return tuple(counts)

    def _first(self, layout: Layout, group: Group) -> int:
        """The number of tokens of the group's first frame that has any."""
        image = min((span.image for span in group if span.tokens), default=None)
        if image is None:
            return 0
        spans = [span for span in group if span.image == image]
        entry = layout.images[image]
        start = 0
        for size in entry.tiles if self.spec.frame == "tile" else entry.frame_tokens:
            held = sum(max(0, min(span.stop, start + size) - max(span.start, start)) for span in spans)
            if held:
                return held
            start += size
        return 0


def _frames(layout: Layout, group: Group) -> list[int]:
    """Tokens of the group's frames, those that have any, in order."""
    held: dict[tuple[int, int], int] = {}
    for span in group:
        start = 0
        for frame, size in enumerate(layout.images[span.image].frame_tokens):
            inside = max(0, min(span.stop, start + size) - max(span.start, start))
            if inside:
                held[span.image, frame] = held.get((span.image, frame), 0) + inside
            start += size
    return [held[key] for key in sorted(held)]
