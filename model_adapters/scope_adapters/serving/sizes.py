"""Sizes of images and videos, from which the number of their tokens follows."""

from __future__ import annotations

from typing import NamedTuple

IMAGE, VIDEO = "image", "video"
"""vLLM's names of the two media."""

MOST_PIXELS = 178_956_970
"""Pixels of an image after it was resized: as many as vLLM and Pillow read of a file."""


class Video(NamedTuple):
    """The size of a video after sampling and resizing.

    Attributes:
        frames: Number of frames; those that the tower merges in time count as one.
        height: Height of a frame in pixels.
        width: Its width.
        seconds: Seconds from one frame to the next; None if unknown.
    """

    frames: int
    height: int
    width: int
    seconds: float | None = None


Pixels = tuple[int, int]
"""(height, width) of an image in pixels."""

Size = Pixels | Video
"""The size of an image or a video."""


def medium(size: Size) -> str:
    """``"image"`` or ``"video"``."""
    return VIDEO if isinstance(size, Video) else IMAGE


def article(size: Size) -> str:
    """``"an image"`` or ``"a video"``."""
    return "a video" if isinstance(size, Video) else "an image"


def shape(size: Size) -> tuple[int, int, int]:
    """(frames, height, width); an image is one frame."""
    return size[:3] if isinstance(size, Video) else (1, *size)


def words(size: Size) -> str:
    """The size in words."""
    frames, height, width = shape(size)
    pixels = f"{width} x {height} pixels"
    return f"{frames} frame{'s' * (frames > 1)} of {pixels}" if isinstance(size, Video) else pixels


def check_resized(size: Pixels, shorter: int) -> None:
    """Refuse an image that would take gigabytes when its shorter side is resized, as a file of a hundred bytes can.

    Args:
        size: Its size.
        shorter: Pixels of the shorter side afterwards.

    Raises:
        ValueError: it would have more than `MOST_PIXELS` pixels.
    """
    pixels = shorter * (shorter * max(size) // max(min(size), 1))
    if pixels > MOST_PIXELS:
        raise ValueError(
            f"an image of {words(size)} is too narrow: resized to a shorter side of {shorter} pixels it has "
            f"{pixels:,}; at most {MOST_PIXELS:,} are possible. Crop or pad it"
        )
