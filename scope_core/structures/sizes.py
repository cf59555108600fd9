"""Sizes of groups, with those of their frames. Pure; no tensors."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate, pairwise

from scope_core.structures.layout import Group, Layout


class GroupSize(int):
    """The number of tokens of a group, which also knows how many are of each of its frames.

    Attributes:
        frames: Tokens of each frame of a video, or of each image; empty if unknown.
    """

    frames: tuple[int, ...]

    def __new__(cls, tokens: int, frames: Iterable[int] = ()) -> GroupSize:
        """A size; ``frames`` add up to ``tokens`` or are empty."""
        made = super().__new__(cls, tokens)
        made.frames = tuple(frames)
        return made


def group_sizes(groups: Iterable[Group], layout: Layout) -> list[GroupSize]:
    """The size of each group, with its frames; these are unknown in later stages of videos."""
    bounds: dict[int, list[int]] = {}
    found = []
    for group in groups:
        frames: list[int] = []
        for span in group:
            image = layout.images[span.image]
            if image.frames and image.full is not None:
                frames = []
                break
            if span.image not in bounds:
                bounds[span.image] = list(accumulate(image.frame_tokens, initial=0))
            ends = bounds[span.image]
            first, last = bisect_right(ends, span.start) - 1, bisect_left(ends, span.stop)
            edges = [max(end, span.start) for end in ends[first:last]] + [span.stop]
            frames += [stop - start for start, stop in pairwise(edges) if stop > start]
        found.append(GroupSize(sum(span.tokens for span in group), frames))
    return found
