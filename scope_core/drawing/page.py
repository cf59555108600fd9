"""Pages of panels: images with their kept patches, one row of panels per image, one panel per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scope_core.drawing.patches import SIDE, Patches, Tile, painted, sheet_size
from scope_core.drawing.text import (
    COLUMNS,
    FAINT,
    INK,
    PAGE,
    RAMP,
    SMALL,
    TEXT,
    TITLE,
    Colour,
    put_bars,
    put_columns,
    put_ramp,
    put_text,
    wrapped,
)

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

GAP, MARGIN, BELOW = 28, 36, 24
MOST_COLUMNS = 4
Legend = tuple[Sequence[Colour], str, str]
"""Colours, the text at their start, and the text at their end."""
ORDER: Legend = (RAMP, "first pick", "last pick")
"""The legend of a page on which picks are coloured by their order."""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: First line below the image, on the left.
        aside: Text on the same line, on the right.
        patches: What is shown of the image's patches; by default the unchanged image.
        bars: ``(label, share)`` of each bar; the share is None if not applicable.
        small: Line below the bars.
        columns: A share from 0 to 1 for each frame of a video, drawn side by side below everything.
        current: Number of the frame whose column is marked; None for none.
    """

    title: str
    aside: str = ""
    patches: Patches = field(default_factory=Patches)
    bars: tuple[tuple[str, float | None], ...] = ()
    small: str = ""
    columns: tuple[float, ...] = ()
    current: int | None = None


@dataclass(frozen=True)
class Strip:
    """The panels of one image.

    Attributes:
        tiles: The image as the model reads it; one tile unless the model cuts images up.
        panels: Its panels.
    """

    tiles: tuple[Tile, ...]
    panels: tuple[Panel, ...]


def draw(
    strips: Sequence[Strip],
    *,
    heading: str = "",
    footnotes: Sequence[str] = (),
    order: bool = False,
    legend: Legend | None = None,
    side: int = SIDE,
) -> Image:
    """The page: one row of panels per image; many panels of a single image are wrapped into several rows.

    Args:
        strips: The panels of each image.
        heading: Line above them.
        footnotes: Lines below them.
        order: True to colour the outlines by the order of the picks, with a legend.
        legend: Another legend.
        side: About the length of an image's shorter side, in pixels.
    """
    import PIL.Image
    from PIL import ImageDraw

    legend = ORDER if order and legend is None else legend
    rows = _wrapped(strips)
    sizes = [sheet_size(strip.tiles, side) for strip in rows]
    caption = _caption_height(rows)
    widths = [len(s.panels) * size[0] + (len(s.panels) - 1) * GAP for s, size in zip(rows, sizes, strict=True)]
    width = max(widths) + 2 * MARGIN
    top = MARGIN + (TITLE + 26 if heading else 0)
    feet = wrapped(footnotes, width - 2 * MARGIN, SMALL)
    height = (
        top
        + sum(size[1] + caption + GAP for size in sizes)
        - GAP
        + (len(feet) * 26 + BELOW if feet or legend else 0)
        + MARGIN
    )
    height += 30 if legend else 0
    page = PIL.Image.new("RGB", (width, height), PAGE)
    pen = ImageDraw.Draw(page)
    if heading:
        put_text(pen, (MARGIN, MARGIN - 4), heading, TITLE, INK, width - 2 * MARGIN)
    y = top
    for strip, size in zip(rows, sizes, strict=True):
        for number, panel in enumerate(strip.panels):
            x = MARGIN + number * (size[0] + GAP)
            page.paste(painted(strip.tiles, panel.patches, side, order=order), (x, y))
            _caption(pen, panel, (x, y + size[1] + 12), size[0])
        y += size[1] + caption + GAP
    y += BELOW - GAP
    if legend:
        put_ramp(pen, (MARGIN, y), *legend)
        y += 30
    for line in feet:
        put_text(pen, (MARGIN, y), line, SMALL, FAINT, width - 2 * MARGIN)
        y += 26
    return page


def _wrapped(strips: Sequence[Strip]) -> list[Strip]:
    """Rows of panels; those of a single image are at most `MOST_COLUMNS` wide."""
    if len(strips) != 1 or len(strips[0].panels) <= MOST_COLUMNS:
        return list(strips)
    strip = strips[0]
    lines = -(-len(strip.panels) // MOST_COLUMNS)
    columns = -(-len(strip.panels) // lines)
    return [Strip(strip.tiles, strip.panels[start : start + columns]) for start in range(0, len(strip.panels), columns)]


def _caption_height(rows: Sequence[Strip]) -> int:
    bars = max(len(panel.bars) for strip in rows for panel in strip.panels)
    small = any(panel.small for strip in rows for panel in strip.panels)
    columns = any(panel.columns for strip in rows for panel in strip.panels)
    return 12 + TITLE + 14 + bars * 28 + (26 if small else 0) + (COLUMNS + 12 if columns else 0)


def _caption(pen: ImageDraw, panel: Panel, at: tuple[int, int], width: int) -> None:
    x, y = at
    aside = put_text(pen, (x + width, y + 5), panel.aside, TEXT, FAINT, width // 2, right=True)
    put_text(pen, (x, y), panel.title, TITLE, INK, width - aside - 12)
    y = put_bars(pen, (x, y + TITLE + 14), panel.bars, width)
    if panel.small:
        put_text(pen, (x, y + 2), panel.small, SMALL, FAINT, width)
        y += 26
    if panel.columns:
        put_columns(pen, (x, y + 8), panel.columns, width, current=panel.current)
