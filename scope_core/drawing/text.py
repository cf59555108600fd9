"""Texts, bars and colours of drawings. Pillow's built-in font has Latin letters only, so others are replaced."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

Colour = tuple[int, int, int]

PAGE, INK, FAINT, TRACK, BAR = "#ffffff", "#1c2430", "#66707f", "#e6e9ee", "#2f6fde"
MARK = "#f07d1a"
TITLE, TEXT, SMALL = 26, 18, 17
COLUMNS = 54
"""Height of the columns of a video's frames."""
RAMP: tuple[Colour, ...] = ((255, 244, 120), (255, 158, 40), (233, 66, 92), (180, 62, 205), (108, 112, 255))
"""Colours from the first pick to the last."""
HEAT: tuple[Colour, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Colours from a low number to a high one; their brightness rises, so that they can be told apart without colours."""


def percent(share: float | None) -> str:
    """``0.8534`` as ``85%``; a dash for None. Only 1 is ``100%``, and only 0 is ``0%``."""
    if share is None or not math.isfinite(share):
        return "-"
    text = f"{share:.0%}"
    if share < 1 and text == "100%":
        return ">99%"
    return "<1%" if share > 0 and text == "0%" else text


def colour_at(share: float, colours: Sequence[Colour] = RAMP) -> Colour:
    """The colour at ``share`` (0 to 1) of the way through ``colours``."""
    place = min(max(share, 0.0), 1.0) * (len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    red, green, blue = (round(a + (b - a) * (place - low)) for a, b in zip(colours[low], colours[low + 1], strict=True))
    return red, green, blue


def put_text(
    pen: ImageDraw, at: tuple[int, int], text: str, size: int, fill: str, room: int, *, right: bool = False
) -> int:
    """Draw one line, cut with dots if it is too long, and return its width."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    text = text.encode("latin-1", "replace").decode("latin-1")
    if font.getlength(text) > room:
        while text and font.getlength(text + "...") > room:
            text = text[:-1]
        text += "..."
    length = round(font.getlength(text))
    pen.text((at[0] - length if right else at[0], at[1]), text, font=font, fill=fill)
    return length


def put_bars(
    pen: ImageDraw,
    at: tuple[int, int],
    bars: Sequence[tuple[str, float | None]],
    width: int,
    *,
    names: int = 150,
    numbers: int = 56,
    size: int = TEXT,
    line: int = 28,
) -> int:
    """Draw bars below one another.

    Args:
        pen: Pen of the page.
        at: Upper left corner.
        bars: ``(label, share)`` of each; the share is None if not applicable.
        width: Total width in pixels.
        names: Width of the labels.
        numbers: Width of the percentages.
        size: Size of the letters.
        line: Height of each bar.

    Returns:
        The y coordinate below the bars.
    """
    x, y = at
    start, end = x + names, x + width - numbers
    for label, share in bars:
        put_text(pen, (x, y), label, size, FAINT, names - 8)
        top = y + line // 4 - 1
        pen.rectangle((start, top, end, top + 10), fill=TRACK)
        if share:
            pen.rectangle((start, top, start + round((end - start) * min(share, 1)), top + 10), fill=BAR)
        text = "n/a" if share is None else percent(share)
        put_text(pen, (x + width, y), text, size, INK, numbers, right=True)
        y += line
    return y


def put_columns(
    pen: ImageDraw, at: tuple[int, int], shares: Sequence[float], width: int, *, current: int | None = None
) -> None:
    """Draw a column for each share, from left to right, `COLUMNS` pixels high; number ``current`` stands out."""
    x, y = at
    for number, share in enumerate(shares):
        left, right = x + number * width // len(shares), x + (number + 1) * width // len(shares)
        right = max(left, right - 1 - (width // len(shares) > 4))
        pen.rectangle((left, y, right, y + COLUMNS), fill=TRACK)
        fill = MARK if number == current else BAR
        if share > 0:
            pen.rectangle((left, y + COLUMNS - max(1, round(COLUMNS * min(share, 1))), right, y + COLUMNS), fill=fill)
        if number == current:
            pen.rectangle((left, y, right, y + COLUMNS), outline=MARK)


def put_ramp(
    pen: ImageDraw, at: tuple[int, int], colours: Sequence[Colour], first: str, last: str, *, size: int = SMALL
) -> None:
    """Draw a legend: the colours, with a text at either end."""
    x, y = at
    x += put_text(pen, (x, y), first, size, FAINT, 400) + 10
    for step in range(160):
        pen.line((x + step, y + 4, x + step, y + 14), fill=colour_at(step / 159, colours))
    put_text(pen, (x + 170, y), last, size, FAINT, 400)


def wrapped(lines: Sequence[str], room: int, size: int) -> list[str]:
    """``lines`` broken between words so that none is longer than ``room`` pixels; continuations are indented."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    broken: list[str] = []
    for line in lines:
        current = ""
        for word in line.split():
            if current and font.getlength(f"{current} {word}") > room:
                broken.append(current)
                current = "    "
            current += f" {word}" if current.strip() else word
        broken.append(current)
    return broken
