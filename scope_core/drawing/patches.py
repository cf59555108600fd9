"""Patches of an image, tile by tile: kept ones in colour, merged ones dim, dropped ones dark and grey."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scope_core.drawing.text import HEAT, PAGE, colour_at

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Cell = tuple[int, int, int]
"""(tile, row, column) of a patch."""

SIDE = 480
"""Shorter sides are scaled up to about this many pixels, in whole pixels per patch."""
SEAM = 10
"""Pixels between tiles."""
LIGHT, MERGED = 0.38, 0.62
"""Brightness of dropped patches, and of those that were merged into kept ones."""
OUTLINE = "#ffd23f"
STAGES = (OUTLINE, "#35d0ff", "#ff7ad9")
"""Outlines of patches picked by the first, the second and later steps of a selection."""
BLANK, PLAIN = (255, 226, 138), (228, 230, 235)
"""Kept patches where pixels are unknown, and patches that have no token."""


@dataclass(frozen=True)
class Tile:
    """One tile of an image.

    Attributes:
        grid: Rows and columns of its patches.
        view: The pixels that the model reads; None if unknown.
    """

    grid: tuple[int, int]
    view: Image | None = None


@dataclass(frozen=True)
class Patches:
    """What is shown of an image's patches.

    Attributes:
        picks: The kept patches in the order they were picked; None for the unchanged image.
        stages: Step of the selection, from 0, that made each of ``picks``; None if there was one step.
        merged: Patches that were merged into kept ones.
        present: The patches that have a token; None if all have. Others are painted as plain surface.
        values: A number from 0 to 1 for each patch, shown as its colour; None to show pixels.
        owners: The patch that each patch belongs to; lines are drawn between patches of different owners.
        numbers: True to write its number, from 1, on each kept patch that is large enough.
        grids: Rows and columns of each tile, if they are not those of the tiles.
    """

    picks: Sequence[Cell] | None = None
    stages: Sequence[int] | None = None
    merged: Sequence[Cell] = ()
    present: frozenset[Cell] | None = None
    values: Mapping[Cell, float] | None = None
    owners: Mapping[Cell, Cell] | None = None
    numbers: bool = False
    grids: tuple[tuple[int, int], ...] | None = None


def tile_size(tile: Tile, side: int) -> tuple[int, int]:
    """Width and height with whole pixels per patch, about ``side`` on the shorter side."""
    rows, columns = tile.grid
    width, height = tile.view.size if tile.view is not None else (columns, rows)
    scale = side / min(width, height)
    return max(4, round(width * scale / columns)) * columns, max(4, round(height * scale / rows)) * rows


def sheet_size(tiles: Sequence[Tile], side: int = SIDE) -> tuple[int, int]:
    """Width and height of an image's tiles together."""
    return sheet_boxes(tiles, side)[1]


def sheet_boxes(tiles: Sequence[Tile], side: int) -> tuple[list[tuple[int, int, int, int]], tuple[int, int]]:
    """(left, upper, width, height) of each tile, in rows of about as many as there are rows; and the whole size."""
    across = math.ceil(math.sqrt(len(tiles)))
    down = math.ceil(len(tiles) / across)
    sizes = [tile_size(tile, side // down if down > 1 else side) for tile in tiles]
    boxes, y, widest = [], 0, 0
    for start in range(0, len(tiles), across):
        x, row = 0, sizes[start : start + across]
        for width, height in row:
            boxes.append((x, y, width, height))
            x += width + SEAM
        widest, y = max(widest, x - SEAM), y + max(height for _, height in row) + SEAM
    return boxes, (widest, y - SEAM)


def painted(tiles: Sequence[Tile], patches: Patches, side: int = SIDE, *, order: bool = False) -> Image:
    """The tiles of an image, beside and below one another, with their patches.

    Args:
        tiles: The tiles.
        patches: What is shown of them.
        side: About the length of the shorter side, in pixels.
        order: True to colour the outlines by the order of the picks.
    """
    import PIL.Image

    boxes, size = sheet_boxes(tiles, side)
    grids = patches.grids or [tile.grid for tile in tiles]
    sheet = PIL.Image.new("RGB", size, "#ffffff")
    for number, (tile, grid, (left, upper, width, height)) in enumerate(zip(tiles, grids, boxes, strict=True)):
        sheet.paste(_tile(number, replace(tile, grid=grid), patches, (width, height), order), (left, upper))
    return sheet


def _tile(number: int, tile: Tile, patches: Patches, size: tuple[int, int], order: bool) -> Image:
    import PIL.Image
    from PIL import ImageDraw

    if tile.view is None:
        bright = PIL.Image.new("RGB", size, PLAIN if patches.picks is None else BLANK)
    else:
        bright = tile.view.convert("RGB").resize(size, PIL.Image.Resampling.LANCZOS)
    if patches.picks is None:
        return bright
    shown = _ground(number, tile, patches, bright)
    ours = [(place, _box(cell, tile.grid, size)) for place, cell in enumerate(patches.picks) if cell[0] == number]
    for _, box in ours:
        shown.paste(bright.crop(box), box[:2])
    pen = ImageDraw.Draw(shown)
    _borders(pen, number, tile, patches, size)
    thick = 2 if order or patches.values is not None else 1
    # the first picks last, so that their outlines are on top
    for place, (left, upper, right, lower) in reversed(ours):
        stage = STAGES[min(patches.stages[place], len(STAGES) - 1)] if patches.stages else OUTLINE
        stage = PAGE if patches.values is not None else stage
        colour = colour_at(place / max(1, len(patches.picks) - 1)) if order else stage
        fill = colour if order and tile.view is None else None
        pen.rectangle((left, upper, right - 1, lower - 1), fill=fill, outline=colour, width=thick)
    if patches.numbers:
        for place, box in reversed(ours):
            _number(pen, str(place + 1), box)
    return shown


def _box(cell: Cell, grid: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, upper, right, lower) of a patch; of patches on a coarser grid than the tile's too."""
    _, row, column = cell
    (rows, columns), (width, height) = grid, size
    return width * column // columns, height * row // rows, width * (column + 1) // columns, height * (row + 1) // rows


def _ground(number: int, tile: Tile, patches: Patches, bright: Image) -> Image:
    """The tile without its kept patches: each is dropped, merged, coloured by a value, or has no token."""
    import PIL.Image
    from PIL import ImageEnhance

    if tile.view is None:
        grey = dark = PIL.Image.new("RGB", bright.size, "#5a6070")
    else:
        grey = bright.convert("L").convert("RGB")
        dark = ImageEnhance.Brightness(grey).enhance(LIGHT)
    shown = dark.copy()
    if patches.merged:
        soft = ImageEnhance.Brightness(bright).enhance(MERGED)
        for box in (_box(cell, tile.grid, bright.size) for cell in patches.merged if cell[0] == number):
            shown.paste(soft.crop(box), box[:2])
    for cell, value in (patches.values or {}).items():
        if cell[0] == number:
            box = _box(cell, tile.grid, bright.size)
            part = grey.crop(box)
            tint = PIL.Image.new("RGB", part.size, colour_at(value, HEAT))
            shown.paste(PIL.Image.blend(part, tint, 0.68), box[:2])
    if patches.present is not None:
        rows, columns = tile.grid
        every = {(number, row, column) for row in range(rows) for column in range(columns)}
        for cell in every - patches.present:
            shown.paste(PLAIN, _box(cell, tile.grid, bright.size))
    return shown


def _borders(pen: ImageDraw, number: int, tile: Tile, patches: Patches, size: tuple[int, int]) -> None:
    """Draw a line between neighbouring patches of different owners."""
    owners = patches.owners or {}
    for cell, owner in owners.items():
        if cell[0] != number:
            continue
        left, upper, right, lower = _box(cell, tile.grid, size)
        _, row, column = cell
        if owners.get((number, row, column + 1), owner) != owner:
            pen.line((right, upper, right, lower), fill=PAGE, width=1)
        if owners.get((number, row + 1, column), owner) != owner:
            pen.line((left, lower, right, lower), fill=PAGE, width=1)


def _number(pen: ImageDraw, text: str, box: tuple[int, int, int, int]) -> None:
    """Write a number in the middle of a patch, if it can be read there."""
    from PIL import ImageFont

    left, upper, right, lower = box
    size = min(16, int(0.62 * (lower - upper)), int(1.55 * (right - left) / len(text)))
    if size < 7:
        return
    font = ImageFont.load_default(size)
    middle = ((left + right) / 2, (upper + lower) / 2)
    pen.text(middle, text, font=font, fill="#ffffff", anchor="mm", stroke_width=1, stroke_fill="#000000")
