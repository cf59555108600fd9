"""The result of ``scope compare`` as a figure: one row per image, one column per method, and the overlaps below.

If there are too many methods for one row, they continue below, with the images repeated at the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from scope_bench.compare.report import Comparison, Photograph
from scope_bench.compare.tables import runs_of
from scope_core.cli.panels import strip_of
from scope_core.cli.selections import by_note
from scope_core.commands import percent
from scope_core.drawing.page import Strip
from scope_core.drawing.patches import LIGHT, STAGES, painted, sheet_size
from scope_core.drawing.text import FAINT, INK, PAGE, TRACK, put_bars, put_text, wrapped

if TYPE_CHECKING:
    from scope_core.cli.selections import Shown

SIDE = 288
"""Approximate shorter side of a panel, in pixels."""
ACROSS, DOWN = 6, 24
"""Largest number of methods in a row, and of rows of panels; beyond that, only the first images are drawn."""
MARGIN, GAP, LINE = 36, 22, 24
HEAD, TEXT, SMALL = 21, 17, 16
CELL, NAMES = (56, 30), 320


def draw(result: Comparison, views: Sequence[Image.Image], shown: Sequence[Shown]) -> Image.Image:
    """The whole figure.

    Args:
        result: The result.
        views: The images as the tower sees them.
        shown: The selections, for the places of the kept patches.

    Raises:
        TokensError: tokens have no positions on a single tile.
    """
    blocks = columns_of(len(result.methods), ACROSS)
    drawn = min(len(views), max(1, DOWN // len(blocks)))
    strips = [strip_of(view, one) for view, one in zip(views[:drawn], shown[:drawn], strict=True)]
    size = sheet_size(strips[0].tiles, SIDE)
    summary = LINE if len(result.photographs) > 1 else 0
    row_height = size[1] + 2 * LINE + 12 + GAP
    block_height = HEAD + 14 + summary + len(strips) * row_height + GAP
    square = _square_size(result)
    width = max(2 * MARGIN + (1 + len(blocks[0])) * (size[0] + GAP) - GAP, 2 * MARGIN + square[0], 1000)
    beside = width - 2 * MARGIN - square[0] - 2 * GAP  # room for notes at the right of the overlaps
    beside = beside if square[0] and beside >= 560 else 0
    feet = wrapped(footnotes(result, drawn), beside or width - 2 * MARGIN, SMALL)
    notes = len(feet) * LINE
    bottom = max(square[1], notes) if beside else square[1] + notes
    height = 2 * MARGIN + 2 * LINE + 34 + len(blocks) * block_height + bottom
    page = Image.new("RGB", (width, height), PAGE)
    pen = ImageDraw.Draw(page)
    put_text(pen, (MARGIN, MARGIN - 6), _heading(result), 26, INK, width - 2 * MARGIN)
    stages = max(max(kept.stages or (0,)) for one in shown for kept in one.kept)
    _legend(pen, (MARGIN, MARGIN + 36), stages)
    y = MARGIN + 2 * LINE + 34
    for block in blocks:
        y = _block(page, pen, result, strips, block, y)
    if square[0]:
        _square(pen, result, y)
    x, y = (MARGIN + square[0] + 2 * GAP, y) if beside else (MARGIN, y + square[1])
    for line in feet:
        put_text(pen, (x, y), line, SMALL, FAINT, width)
        y += LINE
    return page


def columns_of(count: int, most: int) -> list[range]:
    """``count`` numbers in runs of nearly equal length, at most ``most`` in each."""
    runs = max(1, -(-count // most))
    size = max(1, -(-count // runs))
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def footnotes(result: Comparison, drawn: int) -> list[str]:
    """The meaning of the numbers, and notes about single methods."""
    theta = _theta(result)
    lines = [f"coverage: share of all patches that look like a kept one to the tower (cosine of {theta} or more)"]
    if result.saliency is not None:
        lines.append(f"saliency: share of the image's total '{result.saliency}' that lies on kept patches")
    if len(result.photographs) > drawn:
        lines.append(f"shown: the first {drawn} of {len(result.photographs)} images; means are over all")
    lines += [
        f"* {runs_of(numbers)}: {note}" for note, numbers in by_note([one.notes for one in result.methods]).items()
    ]
    if result.not_run:
        lines.append(f"not run: {', '.join(one.label for one in result.not_run)}")
    return [*lines, *result.notes]


def _heading(result: Comparison) -> str:
    counts = sorted({round(edge) for one in result.methods for edge in (one.rows.min, one.rows.max)})
    tokens = sorted({one.tokens for one in result.photographs})
    some = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    total = f"{tokens[0]}" if len(tokens) == 1 else f"{tokens[0]} to {tokens[-1]}"
    return f"Which {some} of {total} visual tokens each method keeps ({result.tower})"


def _theta(result: Comparison) -> str:
    """The threshold that the bars show: the middle one."""
    return f"{result.thetas[len(result.thetas) // 2]:g}"


def _block(
    page: Image.Image, pen: ImageDraw.ImageDraw, result: Comparison, strips: Sequence[Strip], block: range, y: int
) -> int:
    """Draw some methods on every image, and return the y coordinate below them."""
    several, size = len(result.photographs) > 1, sheet_size(strips[0].tiles, SIDE)
    for place, number in enumerate(block, 1):
        one, x = result.methods[number], MARGIN + place * (size[0] + GAP)
        star = " *" if one.notes else ""
        _fitted(pen, (x, y), f"{number + 1}  {one.label}{star}", size[0])
        if several:
            share = f", saliency {percent(one.saliency_share.mean)}" if one.saliency_share else ""
            text = f"mean: coverage {percent(one.theta_coverage[_theta(result)].mean)}{share}"
            put_text(pen, (x, y + HEAD + 6), text, SMALL, FAINT, size[0])
    y += HEAD + 14 + (LINE if several else 0)
    for strip, photograph in zip(strips, result.photographs, strict=False):
        page.paste(painted(strip.tiles, strip.panels[0].patches, SIDE), (MARGIN, y))
        below = y + size[1] + 8
        put_text(pen, (MARGIN, below), photograph.image.rpartition("/")[2].rpartition(":")[2], TEXT, INK, size[0])
        put_text(pen, (MARGIN, below + LINE), _grid(photograph), SMALL, FAINT, size[0])
        for place, number in enumerate(block, 1):
            x = MARGIN + place * (size[0] + GAP)
            page.paste(painted(strip.tiles, strip.panels[number + 1].patches, SIDE), (x, y))
            row = photograph.methods[number]
            bars = (("coverage", row.theta_coverage[_theta(result)]), ("saliency", row.saliency_share))
            put_bars(pen, (x, below), bars, size[0], names=84, numbers=54, size=SMALL, line=LINE)
        y += size[1] + 2 * LINE + 12 + GAP
    return y + GAP


def _grid(photograph: Photograph) -> str:
    size = f"{len(photograph.times)} frames" if photograph.times else " x ".join(map(str, photograph.grid or ()))
    return f"{size} = {photograph.tokens} patches"


def _legend(pen: ImageDraw.ImageDraw, at: tuple[int, int], stages: int) -> None:
    """Draw the legend of bright, outlined and dark patches."""
    x, y = at
    dark = f"#{round(255 * LIGHT):02x}" + f"{round(255 * LIGHT):02x}" * 2
    later = ["kept by a second stage", "kept by a third stage or later"][:stages]
    kept = [("#c9a86a", colour, label) for colour, label in zip(STAGES, ("kept", *later), strict=False)]
    for fill, outline, label in [*kept, (dark, dark, "dropped (grey)")]:
        pen.rectangle((x, y, x + 17, y + 17), fill=fill, outline=outline, width=3)
        x += 26 + put_text(pen, (x + 26, y - 1), label, TEXT, INK, 400) + 28


def _fitted(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, room: int) -> None:
    """Draw the head of a column, in smaller letters if it is long."""
    size = HEAD
    while size > 13 and ImageFont.load_default(size).getlength(text) > room:
        size -= 1
    put_text(pen, (at[0], at[1] + HEAD - size), text, size, INK, room)


def _square_size(result: Comparison) -> tuple[int, int]:
    """Width and height of the overlaps; (0, 0) for a single method."""
    count = len(result.methods)
    return (NAMES + count * CELL[0], (count + 1) * CELL[1] + 2 * LINE) if count > 1 else (0, 0)


def _square(pen: ImageDraw.ImageDraw, result: Comparison, y: int) -> None:
    """Draw the overlaps as a square of shaded numbers."""
    put_text(pen, (MARGIN, y), "Overlap: of the tokens that either keeps,", TEXT, INK, NAMES + 500)
    put_text(pen, (MARGIN, y + LINE), "the share that both keep (Jaccard)", TEXT, INK, NAMES)
    left, top = MARGIN + NAMES, y + LINE
    for column in range(len(result.methods)):
        put_text(pen, (left + column * CELL[0] + 34, top + 6), str(column + 1), TEXT, FAINT, CELL[0], right=True)
    for row, one in enumerate(result.methods):
        upper = top + (row + 1) * CELL[1]
        put_text(pen, (MARGIN, upper + 4), f"{row + 1}  {one.label}", TEXT, INK, NAMES - 10)
        for column in range(len(result.methods)):
            found, x = result.overlap[row][column], left + column * CELL[0]
            value = 0.0 if found is None or row == column else found.mean
            shade = TRACK if row == column else tuple(round(255 - (255 - end) * value) for end in (47, 111, 222))
            pen.rectangle((x, upper, x + CELL[0] - 3, upper + CELL[1] - 3), fill=shade)
            text = "" if row == column else "n/a" if found is None else percent(found.mean)
            ink = PAGE if value > 0.5 else INK
            put_text(pen, (x + CELL[0] - 8, upper + 4), text, SMALL, ink, CELL[0], right=True)
