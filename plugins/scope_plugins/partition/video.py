"""Each video by itself."""

from __future__ import annotations

from typing import Literal

from scope_core import Layout
from scope_core.parts import ComponentSpec, Group, Partition, Span


class ByVideoSpec(ComponentSpec):
    """Each video by itself, all its frames together; images that share a prompt count as frames of one video."""

    name: Literal["video"] = "video"


class ByVideo(Partition[ByVideoSpec]):
    """One group per video, so that a method sees the same whether frames are given as a video or as images.

    Use it for methods that compare frames. For single images beside a video, which are not its frames, use `image`:
    there a video is one group as well.
    """

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """One group for each video, and one for the images of each prompt that has any."""
        found: dict[tuple[str, int], list[Span]] = {}
        for number, image in enumerate(layout.images):
            key = ("video", number) if image.frames else ("images of prompt", image.prompt)
            found.setdefault(key, []).append(Span(number, 0, image.tokens))
        return tuple(tuple(spans) for spans in found.values())
