"""Overlays of selections on their images, as Pillow images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from scope_core.drawing.page import Panel, Strip, draw
from scope_core.drawing.patches import Cell
from scope_core.drawing.text import HEAT, percent
from scope_core.errors import TokensError, quoted
from scope_core.structures.marks import places_of
from scope_core.structures.overlay import Grid, View, coverage_panels, images_of, page_of, tiles_of
from scope_core.structures.places import Places
from scope_core.structures.selection import Selection

if TYPE_CHECKING:
    from PIL.Image import Image


def kept(images: Any, selection: Selection, **options: Any) -> Image:
    """An overlay: kept patches in colour, merged ones dim, dropped ones dark and grey.

    Args:
        images: An image in any form that towers read, a list with one image for each row of the selection, or None to
            draw patches without pixels.
        selection: The selection.
        options: Those of `Selection.show`: ``view``, ``grid``, ``label``, ``theta``, ``order``, ``numbers``, ``first``.

    Raises:
        TokensError: tokens have no places, or the images and the selection do not go together.
        ZooError: an image cannot be read.
    """
    return _checked(selection).show(images, **options)


def order(images: Any, selection: Selection, *, numbers: bool = True, **options: Any) -> Image:
    """An overlay on which outlines have colours from the first pick to the last, and large patches their number.

    Args:
        images: As for `kept`.
        selection: The selection.
        numbers: False for colours alone.
        options: Those of `Selection.show`; with ``first=n`` only the first n picks, e.g. as a frame of an animation.

    Raises:
        TokensError: as for `kept`.
        ZooError: an image cannot be read.
    """
    return _checked(selection).show(images, order=True, numbers=numbers, **options)


def compare(
    images: Any,
    selections: Mapping[str, Selection],
    *,
    view: View | None = None,
    grid: Grid | None = None,
    theta: float = 0.8,
    order: bool = False,
    original: bool = True,
    heading: str = "",
) -> Image:
    """Overlays of several selections from the same images, side by side, one row per image.

    Args:
        images: As for `kept`.
        selections: The selections, by name.
        view: As for `Selection.show`.
        grid: As for `Selection.show`.
        theta: Threshold of theta-coverage, in [-1, 1].
        order: True to colour outlines by the order of the picks.
        original: False to leave the unchanged image out.
        heading: Line above everything.

    Raises:
        TokensError: tokens have no places, or the images and the selections do not go together.
        ZooError: an image cannot be read.
    """
    if not isinstance(selections, Mapping) or not selections:
        raise TokensError(f"give {{name: selection}}, at least one, not {quoted(selections)}")
    lead = _checked(next(iter(selections.values())))
    texts = {str(name): _panels(_checked(one), theta, lead) for name, one in selections.items()}
    notes = [f"coverage at {theta:g}: share of all tokens whose best cosine to a kept token is {theta:g} or more"]
    if len(selections) > 1:
        notes.append(f"overlap: tokens kept by both it and {next(iter(texts))}, of those kept by either")
    return page_of(
        images,
        {str(name): one.marks for name, one in selections.items()},
        texts=texts,
        view=view,
        grid=grid,
        original=original,
        order=order,
        heading=heading,
        footnotes=notes,
    )


def coverage_map(
    images: Any,
    selection: Selection,
    *,
    view: View | None = None,
    grid: Grid | None = None,
    theta: float = 0.8,
    label: str = "",
) -> Image:
    """The image with each patch coloured by its cosine to the kept token that covers it.

    White lines divide patches that different kept tokens cover. `Selection.nearest` gives the numbers.

    Args:
        images: As for `kept`.
        selection: The selection.
        view: As for `Selection.show`.
        grid: As for `Selection.show`.
        theta: Threshold of theta-coverage in the caption, in [-1, 1].
        label: Name of the method.

    Raises:
        TokensError: tokens have no places, or the images and the selection do not go together.
        ZooError: an image cannot be read.
    """
    places = places_of(_checked(selection).tokens, label)
    index, cosine = (one.tolist() for one in selection.nearest())
    low = min((value for row in cosine for value in row if math.isfinite(value)), default=0.0)
    start = min(math.floor(10 * low) / 10, 0.9)
    texts, strips = _panels(selection, theta), []
    for number, image in enumerate(images_of(images, len(places))):
        found, marks = places[number], selection.marks.patches(number, places[number])
        values, owners = _covered(found, index[number], cosine[number], start)
        panel = replace(
            texts[number],
            title=label or "covered by",
            aside=selection.marks.caption(number, found)[0],
            patches=replace(marks, values=values, owners=owners, merged=()),
        )
        tiles = tiles_of(image, found, view=view, grid=grid, number=number)
        strips.append(Strip(tiles, (panel,)))
    return draw(strips, legend=(HEAT, f"cosine to the nearest kept token: {start:g}", "1"))


def _covered(
    places: Places, index: Sequence[int], cosine: Sequence[float], start: float
) -> tuple[dict[Cell, float], dict[Cell, Cell]]:
    """The cosine of each patch, as a share of the way from ``start`` to 1, and the kept patch that covers it."""
    values, owners = {}, {}
    for token, cell in enumerate(places.cells):
        owner = places.cells[index[token]] if index[token] >= 0 else None
        if cell is not None and index[token] >= 0:
            values[cell] = (cosine[token] - start) / (1 - start)
            owners[cell] = owner or (-1, 0, index[token])
    return values, owners


def _panels(selection: Selection, theta: float, lead: Selection | None = None) -> list[Panel]:
    """Panels with theta-coverage, and with the overlap with the first selection, if there is another."""
    coverage = selection.coverage(theta).tolist()
    if lead is None or lead is selection or lead.mask.shape != selection.mask.shape:
        return coverage_panels(theta, coverage)
    both, either = (lead.mask & selection.mask).sum(1).tolist(), (lead.mask | selection.mask).sum(1).tolist()
    shares = [one / all_ if all_ else 1.0 for one, all_ in zip(both, either, strict=True)]
    return coverage_panels(theta, coverage, [f"overlap {percent(share)}" for share in shares])


def _checked(selection: Any) -> Selection:
    if not isinstance(selection, Selection):
        raise TokensError(f"give a Selection, e.g. from pruner.prune() or receipt.selection, not {quoted(selection)}")
    return selection
