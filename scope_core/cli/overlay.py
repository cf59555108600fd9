"""Overlays of selections: kept patches in colour, dropped ones dark and grey, one panel per method.

Drawn with Pillow alone. Its built-in font has Latin letters only, so captions use only those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scope_core.cli.output import percent, writing

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

PANEL = 480  # shorter sides are scaled up to about this many pixels, in whole pixels per patch
GAP, MARGIN, BELOW = 28, 36, 24
LIGHT = 0.38  # brightness of dropped patches
PAGE, INK, FAINT, TRACK, BAR = "#ffffff", "#1c2430", "#66707f", "#e6e9ee", "#2f6fde"
OUTLINE = "#ffd23f"
STAGES = (OUTLINE, "#35d0ff", "#ff7ad9")
"""Outlines of patches picked by the first, the second and later steps of a selection."""
RAMP = ((255, 244, 120), (255, 158, 40), (233, 66, 92), (180, 62, 205), (108, 112, 255))
"""Colours from the first pick to the last."""
TITLE, TEXT, SMALL = 26, 18, 17
MOST_COLUMNS = 4


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: First line below the image, on the left.
        aside: Text on the same line, on the right.
        picks: (row, column) of the kept patches in the order they were picked; None for the unchanged image.
        bars: ``(label, share)`` of each bar; the share is None if not applicable.
        small: Last line.
        stages: Step of the selection, from 0, that made each of ``picks``; None if there was one step.
        grid: Rows and columns of its patches; None for those of its strip.
    """

    title: str
    aside: str = ""
    picks: Sequence[tuple[int, int]] | None = None
    bars: tuple[tuple[str, float | None], ...] = ()
    small: str = ""
    stages: Sequence[int] | None = None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Strip:
    """The panels of one image.

    Attributes:
        view: The image that the tower reads.
        grid: Rows and columns of its patches.
        panels: Its panels.
    """

    view: Image
    grid: tuple[int, int]
    panels: tuple[Panel, ...]


def draw(strips: Sequence[Strip], *, heading: str = "", footnotes: Sequence[str] = (), order: bool = False) -> Image:
    """The overlay: one row of panels per image; many panels of a single image are wrapped into several rows.

    Args:
        strips: The panels of each image.
        heading: Line above them.
        footnotes: Lines below them.
        order: True to colour the outlines by the order of the picks.
    """
    import PIL.Image
    from PIL import ImageDraw

    rows = _wrapped(strips)
    sizes = [panel_size(strip) for strip in rows]
    caption = _caption_height(rows)
    widths = [len(s.panels) * size[0] + (len(s.panels) - 1) * GAP for s, size in zip(rows, sizes, strict=True)]
    width = max(widths) + 2 * MARGIN
    top = MARGIN + (TITLE + 26 if heading else 0)
    feet = wrapped(footnotes, width - 2 * MARGIN, SMALL)
    height = (
        top
        + sum(size[1] + caption + GAP for size in sizes)
        - GAP
        + (len(feet) * 26 + BELOW if feet or order else 0)
        + MARGIN
    )
    height += 30 if order else 0
    page = PIL.Image.new("RGB", (width, height), PAGE)
    pen = ImageDraw.Draw(page)
    if heading:
        put_text(pen, (MARGIN, MARGIN - 4), heading, TITLE, INK, width - 2 * MARGIN)
    y = top
    for strip, size in zip(rows, sizes, strict=True):
        for number, panel in enumerate(strip.panels):
            x = MARGIN + number * (size[0] + GAP)
            page.paste(painted(strip, panel, size, order), (x, y))
            _caption(pen, panel, (x, y + size[1] + 12), size[0])
        y += size[1] + caption + GAP
    y += BELOW - GAP
    if order:
        _legend(pen, (MARGIN, y))
        y += 30
    for line in feet:
        put_text(pen, (MARGIN, y), line, SMALL, FAINT, width - 2 * MARGIN)
        y += 26
    return page


def save(page: Image, path: Path) -> None:
    """Write the overlay, in the format that the ending names.

    Raises:
        ZooError: it cannot be written.
    """
    with writing(path):
        if path.suffix.lower() == ".png":
            page.save(path, optimize=True)
        else:
            page.save(path, quality=92)


def _wrapped(strips: Sequence[Strip]) -> list[Strip]:
    """Rows of panels; those of a single image are at most `MOST_COLUMNS` wide."""
    if len(strips) != 1 or len(strips[0].panels) <= MOST_COLUMNS:
        return list(strips)
    strip = strips[0]
    lines = -(-len(strip.panels) // MOST_COLUMNS)
    columns = -(-len(strip.panels) // lines)
    return [
        Strip(strip.view, strip.grid, strip.panels[start : start + columns])
        for start in range(0, len(strip.panels), columns)
    ]


def panel_size(strip: Strip, side: int = PANEL) -> tuple[int, int]:
    """Width and height with whole pixels per patch, about ``side`` on the shorter side."""
    rows, columns = strip.grid
    scale = side / min(strip.view.size)
    across = max(4, round(strip.view.width * scale / columns))
    down = max(4, round(strip.view.height * scale / rows))
    return across * columns, down * rows


def painted(strip: Strip, panel: Panel, size: tuple[int, int], order: bool = False) -> Image:
    """The image in ``size``: kept patches in colour and outlined, the others dark and grey."""
    import PIL.Image
    from PIL import ImageDraw, ImageEnhance

    bright = strip.view.convert("RGB").resize(size, PIL.Image.Resampling.LANCZOS)
    if panel.picks is None:
        return bright
    dark = ImageEnhance.Brightness(bright.convert("L").convert("RGB")).enhance(LIGHT)
    rows, columns = panel.grid or strip.grid
    across, down = size[0] // columns, size[1] // rows
    boxes = [(c * across, r * down, (c + 1) * across, (r + 1) * down) for r, c in panel.picks]
    for box in boxes:
        dark.paste(bright.crop(box), box[:2])
    pen = ImageDraw.Draw(dark)
    # the first picks last, so that their outlines are on top
    for number, (left, upper, right, lower) in reversed(list(enumerate(boxes))):
        stage = STAGES[min(panel.stages[number], len(STAGES) - 1)] if panel.stages else OUTLINE
        colour = _ramp(number / max(1, len(boxes) - 1)) if order else stage
        pen.rectangle((left, upper, right - 1, lower - 1), outline=colour, width=2 if order else 1)
    return dark


def _caption_height(rows: Sequence[Strip]) -> int:
    bars = max(len(panel.bars) for strip in rows for panel in strip.panels)
    small = any(panel.small for strip in rows for panel in strip.panels)
    return 12 + TITLE + 14 + bars * 28 + (26 if small else 0)


def _caption(pen: ImageDraw, panel: Panel, at: tuple[int, int], width: int) -> None:
    x, y = at
    aside = put_text(pen, (x + width, y + 5), panel.aside, TEXT, FAINT, width // 2, right=True)
    put_text(pen, (x, y), panel.title, TITLE, INK, width - aside - 12)
    y = put_bars(pen, (x, y + TITLE + 14), panel.bars, width)
    if panel.small:
        put_text(pen, (x, y + 2), panel.small, SMALL, FAINT, width)


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


def _legend(pen: ImageDraw, at: tuple[int, int]) -> None:
    x, y = at
    x += put_text(pen, (x, y), "first pick", SMALL, FAINT, 120) + 10
    for step in range(160):
        pen.line((x + step, y + 4, x + step, y + 14), fill=_ramp(step / 159))
    put_text(pen, (x + 170, y), "last pick", SMALL, FAINT, 120)


def _ramp(share: float) -> tuple[int, int, int]:
    place = share * (len(RAMP) - 1)
    low = min(int(place), len(RAMP) - 2)
    red, green, blue = (round(a + (b - a) * (place - low)) for a, b in zip(RAMP[low], RAMP[low + 1], strict=True))
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
