"""Layouts and plans: how many tokens each image and video has, and how many will be kept. Pure; no tensors.

Servers need the length of prompts before any tensor exists, so this module depends on shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import index
from typing import Any

from scope_core.display import brief_repr, card, counted, shortened, table_html
from scope_core.errors import BudgetError, TokensError, quoted


@dataclass(frozen=True)
class ImageLayout:
    """One image's or video's candidate tokens.

    A video is an item of a prompt beside images. Each of its frames is one tile, or several if the model cuts frames
    up; a group of frames that the tower merges in time counts as one frame.

    Attributes:
        tiles: Candidate tokens of each tile, in token order. One entry for models without tiles.
        prompt: Index of the prompt (batch row) that the image belongs to.
        separators: Number of newline tokens that the model adds around the candidates; an upper bound if the adapter
            drops some of them with the tokens around them.
        patches: Patches of all tiles, with those of padding that never become tokens, for models whose papers count
            them (five tiles of 576 are 2880); None for other models.
        full: Candidate tokens before the first stage, if this layout is for a later one; None for the first stage.
        frames: Tiles of each frame of a video, in order; empty for an image.
        times: Seconds from the start of the video at which each frame begins; empty if unknown.

    Raises:
        TokensError: the frames' tiles are not all tiles, or there are not as many times as frames.
    """

    tiles: tuple[int, ...]
    prompt: int = 0
    separators: int = 0
    patches: int | None = None
    full: int | None = None
    frames: tuple[int, ...] = ()
    times: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.frames and (min(self.frames) < 1 or sum(self.frames) != len(self.tiles)):
            raise TokensError(
                f"a video of {len(self.tiles)} tiles cannot have frames of {quoted(list(self.frames))} tiles; each "
                f"frame has at least one, and all of them together {len(self.tiles)}"
            )
        if self.times and len(self.times) != len(self.frames):
            raise TokensError(
                f"{len(self.times)} times were given for {counted(len(self.frames), 'frame')}; give one for each frame"
            )

    __repr__ = brief_repr

    @property
    def tokens(self) -> int:
        """Candidate tokens of the image."""
        return sum(self.tiles)

    @property
    def original(self) -> int:
        """Candidate tokens of the image before the first stage."""
        return self.tokens if self.full is None else self.full

    @property
    def frame_of_tile(self) -> tuple[int, ...]:
        """The frame of each tile; 0 for an image's.

        Raises:
            BudgetError: the layout is a later stage's, in which a video is no longer divided by frame.
        """
        if self.frames and self.full is not None:
            raise BudgetError(
                "a later stage cannot count the tokens of a video's frames: only selection tells which frames the "
                "tokens left are of. Divide by frame in the first stage, or inside a selector (`selector: {name: "
                "quota, partition: frame}`)"
            )
        return tuple(n for n, tiles in enumerate(self.frames or (len(self.tiles),)) for _ in range(tiles))

    @property
    def frame_tokens(self) -> tuple[int, ...]:
        """Candidate tokens of each frame; an image is one frame. Raises as `frame_of_tile`."""
        counts = [0] * max(1, len(self.frames))
        for frame, tokens in zip(self.frame_of_tile, self.tiles, strict=True):
            counts[frame] += tokens
        return tuple(counts)


@dataclass(frozen=True)
class Layout:
    """The images and videos of one call, in placeholder order.

    Attributes:
        images: One entry per image or video.
        stage: Number of the stage that this layout is for, from 0.
        schedule: Interception points of all stages; empty if unknown.
    """

    images: tuple[ImageLayout, ...]
    stage: int = 0
    schedule: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        tokens: Iterable[int | Sequence[int]],
        *,
        prompts: Sequence[int] | None = None,
        videos: Iterable[int] = (),
    ) -> Layout:
        """A layout from token counts: an int per image, or a sequence of ints for an image's tiles or a video's frames.

        Args:
            tokens: Tokens of each item, e.g. ``[576, [196] * 8]`` for an image and a video of eight frames.
            prompts: Prompt of each item; all are in one if left out.
            videos: Numbers of the items that are videos, e.g. ``[1]``.

        Raises:
            TokensError: an entry is not a token count, a video has no frames, or there are not as many prompts as
                items.
        """
        if isinstance(tokens, str) or not isinstance(tokens, Iterable):
            raise TokensError(f"give a list with the tokens of each image, e.g. [576, 576], not {quoted(tokens)}")
        images = [_tiles(image, f"image {number}") for number, image in enumerate(tokens)]
        rows = list(prompts) if prompts is not None else [0] * len(images)
        if len(rows) != len(images):
            raise TokensError(f"{len(rows)} prompts were given for {len(images)} images; give the prompt of each image")
        moving = set(videos)
        if unknown := moving - set(range(len(images))):
            raise TokensError(
                f"there is no item {min(unknown)} to be a video; the layout has {counted(len(images), 'item')}, "
                f"counted from 0"
            )
        if empty := [number for number in sorted(moving) if not images[number]]:
            raise TokensError(f"video {empty[0]} has no frames; give the tokens of at least one")
        return cls(
            tuple(
                ImageLayout(tiles, prompt, frames=(1,) * len(tiles) if number in moving else ())
                for number, (tiles, prompt) in enumerate(zip(images, rows, strict=True))
            )
        )

    def __repr__(self) -> str:
        """As a call of `Layout.of`, shortened."""
        tokens = [i.tokens if len(i.tiles) == 1 and not i.frames else list(i.tiles) for i in self.images]
        prompts = [image.prompt for image in self.images]
        videos = [number for number, image in enumerate(self.images) if image.frames]
        more = f", prompts={quoted(prompts)}" if any(prompts) else ""
        more += f", videos={quoted(videos)}" if videos else ""
        return shortened(f"Layout.of({quoted(tokens)}{more})")

    @property
    def items(self) -> str:
        """What the layout holds, in words: ``"1 image and 2 videos"``."""
        videos = sum(bool(image.frames) for image in self.images)
        images = len(self.images) - videos
        parts = [counted(images, "image")] if images or not videos else []
        return " and ".join(parts + ([counted(videos, "video")] if videos else []))

    def name_of(self, number: int) -> str:
        """``"image 0"`` or ``"video 1"``, for messages."""
        return f"{'video' if self.images[number].frames else 'image'} {number}"

    def after(self, kept: Sequence[int]) -> Layout:
        """The layout of the next stage, in which ``kept[i]`` tokens of image i are left, no longer divided by tile.

        Nor are videos divided by frame: which frames the tokens are of is known only after selection.
        """
        images = tuple(
            replace(image, tiles=(count,), full=image.original, separators=0, frames=image.frames and (1,), times=())
            for image, count in zip(self.images, kept, strict=True)
        )
        return replace(self, images=images, stage=self.stage + 1)


@dataclass(frozen=True)
class Span:
    """Tokens ``start`` to ``stop`` (exclusive) of image ``image``."""

    image: int
    start: int
    stop: int

    @property
    def tokens(self) -> int:
        """Number of tokens in the span."""
        return self.stop - self.start


Group = tuple[Span, ...]
"""Tokens that are selected together, in order."""


@dataclass(frozen=True)
class Plan:
    """The number of tokens that each group keeps, known before any tensor exists.

    Attributes:
        layout: The layout that was planned for.
        groups: The groups of tokens that are selected together.
        counts: Tokens kept of each group.
        exact: False if the budget or the selector of this stage, or of an earlier one, adapts to the image; ``counts``
            are then upper bounds.
        later: The plans of later stages. Empty if there are none, or if images share a budget, so that the number of
            tokens that a later stage gets of each image is known only after selection.
        memory: Bytes that matrices take at once, at most: those of similarities or distances of N x N tokens in
            selectors, and of R x N weights in mergers; 0 if there are none. Where a selector divides a group further,
            N is the largest piece that there can be.
        copies: How often the vectors of all tokens are held at once, at most, beside those that are given; see
            `memory_for`. What parts make of signals, padding where pieces are of unequal sizes, and a conversion of the
            tokens to the spec's ``dtype`` are not counted.
        in_blocks: True if similarities can be computed in blocks instead of as one matrix: always, if ``memory`` is 0,
            else if ``memory`` bytes are not free. Blocks take 8 bytes for each number of the largest group's vectors,
            and some 16 MB.
    """

    layout: Layout
    groups: tuple[Group, ...]
    counts: tuple[int, ...]
    exact: bool = True
    later: tuple[Plan, ...] = ()
    memory: int = 0
    in_blocks: bool = False
    copies: float = 0.0

    def memory_for(self, width: int, itemsize: int = 4) -> int:
        """Bytes that this stage takes, with the copies of vectors of ``width`` numbers of ``itemsize`` bytes.

        ``itemsize`` is that of the spec's ``dtype``: 4 for float32, the usual one.
        """
        tokens = sum(image.tokens for image in self.layout.images)
        return self.memory + int(self.copies * tokens * width * itemsize)

    def __repr__(self) -> str:
        tokens = sum(image.tokens for image in self.layout.images)
        some = "" if self.exact else "at most "
        later = f", then {counted(len(self.later), 'later stage')}" if self.later else ""
        return f"Plan({tokens} -> {some}{self.total} tokens of {self.layout.items}{later})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the groups, and the tokens that each keeps."""
        rows = [
            (
                ", ".join(
                    f"{self.layout.name_of(span.image)}, tokens {span.start} to {span.stop - 1}" for span in group[:4]
                )
                + (f" and {len(group) - 4} more" if len(group) > 4 else ""),
                sum(span.tokens for span in group),
                count if self.exact else f"at most {count}",
            )
            for group, count in zip(self.groups, self.counts, strict=True)
        ]
        later = "".join(f"<div>then: {stage._repr_html_()}</div>" for stage in self.later)
        memory = f"matrices take {self.memory / 1e6:,.1f} MB" if self.memory else ""
        return card(repr(self), table_html(("group", "tokens", "kept"), rows), later, aside=memory)

    @property
    def images(self) -> tuple[int, ...]:
        """Tokens kept of each image.

        Raises:
            BudgetError: a group holds tokens of several images, so only its total is known before selection.
        """
        kept = [0] * len(self.layout.images)
        for group, count in zip(self.groups, self.counts, strict=True):
            owners = {span.image for span in group}
            if len(owners) > 1:
                raise BudgetError(
                    f"images {', '.join(map(str, sorted(owners)))} share one budget of {count} tokens and are selected "
                    f"together, so the count of each is known only after selection; use plan.counts or plan.total"
                )
            kept[owners.pop()] += count
        return tuple(kept)

    @property
    def total(self) -> int:
        """Tokens kept in the whole call."""
        return sum(self.counts)


def _tiles(image: Any, where: str) -> tuple[int, ...]:
    tiles = []
    for tile in image if isinstance(image, Iterable) and not isinstance(image, str) else (image,):
        try:
            tiles.append(index(tile))  # NumPy's integers too
        except TypeError:
            tiles.append(-1)
        if tiles[-1] < 0:
            raise TokensError(f"{where}: {quoted(tile)} is not a token count; give whole numbers of at least 0")
    return tuple(tiles)
