"""Overlays of selections on their images: the tiles of an image, and pages with what is kept of them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scope_core.drawing.page import Panel, Strip, draw
from scope_core.drawing.patches import Tile
from scope_core.errors import TokensError
from scope_core.images import upright_rgb
from scope_core.pixels import is_array
from scope_core.structures.marks import Marks, places_of
from scope_core.structures.places import Places

if TYPE_CHECKING:
    from PIL.Image import Image

View = Callable[[Any], Any]
"""``view(image) -> image``, or ``-> [tile, tile, ...]``: the image as the model reads it."""
Grid = tuple[int, int]
MERGED_NOTE = "dim patches in colour were merged into kept tokens"


def images_of(images: Any, count: int) -> list[Any]:
    """One image, or list of tiles, for each row of a selection.

    Args:
        images: An image, or a list of ``count`` images; None for no pixels.
        count: Rows of the selection.

    Raises:
        TokensError: there are more or fewer.
    """
    if images is None:
        return [None] * count
    listed = isinstance(images, (list, tuple)) or (is_array(images) and len(images.shape) == 4)
    if not listed:
        images = [images]
    given = list(images)
    if len(given) != count:
        if count == 1 and listed:
            return [given]  # the tiles of one image
        raise TokensError(
            f"the selection is of {count} image{'s' if count > 1 else ''}, but {len(given)} "
            f"{'was' if len(given) == 1 else 'were'} given; give a list with one image for each, in order"
        )
    return given


def tiles_of(image: Any, places: Places, *, view: View | None, grid: Grid | None, number: int) -> tuple[Tile, ...]:
    """The tiles of one image, with their pixels as far as they are known.

    Args:
        image: An image in any form that `upright_rgb` reads, a list of tiles, or None.
        places: The places of its tokens.
        view: Function from the image to what the model reads.
        grid: Rows and columns of each tile; by default as far as tokens reach.
        number: Number of the image, for messages.

    Raises:
        TokensError: there are more or fewer tiles than tokens say, or tokens lie outside ``grid``.
        ZooError: an image cannot be read.
    """
    several, count = isinstance(image, (list, tuple)), len(places.extents)
    if view is not None and image is not None and not several:
        seen = view(upright_rgb(image))
        if not isinstance(seen, (list, tuple)):
            image = seen
        elif len(seen) == count:
            image, several = seen, True
        elif count <= 2 < len(seen) and places.full:  # the overview alone, or beside the whole, put together again
            image, several = [seen[0], image][:count], True
        else:
            view = None
    elif several and len(image) != count:
        raise TokensError(f"the tokens of image {number} are on {count} tiles, but {len(image)} tile images were given")
    views: list[Image | None] = [None] * count
    if several:
        views = [upright_rgb(one, f"tile {tile} of image {number}") for tile, one in enumerate(image)]
    elif image is not None and count == 1:
        views = [upright_rgb(image, f"image {number}")]
    elif image is not None:
        _warn(
            f"the tokens of image {number} are on {count} tiles, so they are drawn without pixels; give the list of "
            f"the {count} tile images in place of the image, or view=..., a function that returns it"
        )
    if grid is not None:
        _check_grid(grid, places, number)
    grids = places.grids([one.size if one is not None else None for one in views]) if grid is None else (grid,) * count
    if grid is None and count == 1 and not places.full:
        _warn(
            f"the tokens of image {number} do not fill a grid; {grids[0][0]} rows and {grids[0][1]} columns are drawn, "
            f"as far as tokens reach. If there are more, give grid=(rows, columns)"
        )
    if view is None and not several and views[0] is not None:
        views = [_middle(views[0], grids[0], number)]
    return tuple(Tile(size, one) for size, one in zip(grids, views, strict=True))


def _check_grid(grid: Grid, places: Places, number: int) -> None:
    far = max(rows for rows, _ in places.extents), max(columns for _, columns in places.extents)
    if far[0] > grid[0] or far[1] > grid[1]:
        raise TokensError(
            f"grid {tuple(grid)} is too small for the tokens of image {number}, which reach row {far[0] - 1} and "
            f"column {far[1] - 1}, counted from 0"
        )


def _middle(image: Image, grid: Grid, number: int) -> Image:
    """The image, cropped to the middle with a warning if its shape is not the grid's."""
    from PIL import ImageOps

    rows, columns = grid
    width, height = image.size
    if abs(width * rows / height - columns) < 1 or abs(height * columns / width - rows) < 1:
        return image
    _warn(
        f"image {number} has {width} x {height} pixels, its tokens {columns} x {rows} patches; the middle is drawn, as "
        f"most towers crop images. Give view=tower.view or view=loaded.view for what the model really reads"
    )
    scale = min(width / columns, height / rows)
    return ImageOps.fit(image, (round(columns * scale), round(rows * scale)))


def page_of(
    images: Any,
    columns: Mapping[str, Marks],
    *,
    texts: Mapping[str, Sequence[Panel] | None] | None = None,
    view: View | None = None,
    grid: Grid | None = None,
    original: bool = False,
    order: bool = False,
    numbers: bool = False,
    first: int | None = None,
    heading: str = "",
    footnotes: Sequence[str] = (),
) -> Image:
    """A page with one row per image and one panel per selection.

    Args:
        images: As for `images_of`.
        columns: The selections, by name.
        texts: Further texts of each selection's panels, by name: one panel per image.
        view: As for `tiles_of`.
        grid: As for `tiles_of`.
        original: True to begin each row with the unchanged image.
        order: True to colour the outlines by the order of the picks.
        numbers: True to number the kept patches.
        first: Show only this many picks.
        heading: Line above everything.
        footnotes: Lines below everything.

    Raises:
        TokensError: tokens have no places, or images, selections and tiles do not go together.
        ZooError: an image cannot be read.
    """
    if not columns:
        raise TokensError("no selection was given; give {name: selection}")
    if first is not None and first < 0:
        raise TokensError(f"first must be a number of picks, at least 0, not {first}")
    places = {name: places_of(marks.tokens, name) for name, marks in columns.items()}
    (lead, found), *others = places.items()
    for name, other in others:
        if len(other) != len(found):
            raise TokensError(
                f"'{lead}' is a selection of {len(found)} images, '{name}' of {len(other)}; compare selections of the "
                f"same images"
            )
    strips = []
    for number, image in enumerate(images_of(images, len(found))):
        tiles = tiles_of(image, found[number], view=view, grid=grid, number=number)
        size = " x ".join(map(str, tiles[0].grid)) + " patches" + (f", {len(tiles)} tiles" if len(tiles) > 1 else "")
        panels = [Panel("image" if len(found) == 1 else f"image {number}", size)] if original else []
        for name, marks in columns.items():
            mine = places[name][number]
            patches = marks.patches(number, mine, first=first, numbers=numbers)
            patches = replace(patches, grids=own_grids(tiles, mine, grid))
            given = texts.get(name) if texts else None
            panel = given[number] if given else Panel("")
            count, more = marks.caption(number, mine, first)
            small = "; ".join(text for text in (panel.small, more) if text)
            title, aside = (name, count) if name else (count, "")
            panels.append(replace(panel, title=title, aside=aside, patches=patches, small=small))
        strips.append(Strip(tiles, tuple(panels)))
    dim = any(panel.patches.merged for strip in strips for panel in strip.panels)
    notes = [*footnotes, *([MERGED_NOTE] if dim else [])]
    return draw(strips, heading=heading, footnotes=notes, order=order)


def coverage_panels(theta: float, coverage: Sequence[float], small: Sequence[str] | None = None) -> list[Panel]:
    """Panels with a bar for each image's theta-coverage, and with the lines ``small``, if given."""
    lines = small or [""] * len(coverage)
    return [
        Panel("", bars=((f"coverage at {theta:g}", share),), small=line)
        for share, line in zip(coverage, lines, strict=True)
    ]


def own_grids(tiles: Sequence[Tile], places: Places, grid: Grid | None) -> tuple[Grid, ...] | None:
    """The grids of a selection from other tokens than those that gave ``tiles``; None if they are the same.

    Raises:
        TokensError: there are more or fewer tiles.
    """
    if len(places.extents) != len(tiles):
        raise TokensError(
            f"the selections are of tokens on {len(tiles)} and on {len(places.extents)} tiles; draw them one by one"
        )
    fits = all(a <= c and b <= d for (a, b), (c, d) in zip(places.extents, (tile.grid for tile in tiles), strict=True))
    if grid is not None or (fits and not places.full):  # what an earlier stage left of the same tokens
        return None
    found = places.grids([tile.view.size if tile.view is not None else None for tile in tiles])
    return None if found == tuple(tile.grid for tile in tiles) else found


def _warn(text: str) -> None:
    """Warn about the line outside of this package that asked for an overlay."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("scope_core."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
