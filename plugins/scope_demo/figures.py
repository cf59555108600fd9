"""What the page draws of a selection: overlays, what covers each patch, and coverage over budget, as plain data."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL.Image import Image

from scope_core import TokensError
from scope_core.drawing.patches import SIDE, painted, sheet_boxes
from scope_core.plot import coverage_curve
from scope_core.structures.marks import places_of
from scope_core.structures.overlay import tiles_of
from scope_demo.subject import Chosen, Photo, Subject

BUDGETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 576)
"""Budgets of the curve's points."""


def figure_of(
    subject: Subject, photo: Photo, chosen: Chosen, *, label: str, theta: float, order: bool = False
) -> dict[str, Any]:
    """One method's figure.

    Args:
        subject: The model or tower.
        photo: The image.
        chosen: The selection.
        label: The method's name.
        theta: Threshold of theta-coverage.
        order: True to colour outlines by the order of the picks.

    Returns:
        ``label``, ``count`` and ``tokens``, ``coverage``, ``ms``, ``notes``, ``image`` (a data address; empty if
        nothing can be drawn), ``width`` and ``height``, ``boxes`` (left, upper, width, height, row, column of each
        token; None without a place), ``picks`` in their order, and for each token ``nearest``, the kept token that
        covers it, and its ``cosine``.
    """
    selection = chosen.selection
    index, cosine = (one[0].tolist() for one in selection.nearest())
    picks = [pick for pick in selection.picks[0].tolist() if pick >= 0]
    figure: dict[str, Any] = {
        "label": label,
        "count": len(picks),
        "rows": selection.row_counts[0],
        "tokens": int(selection.tokens.valid[0].sum()),
        "coverage": chosen.coverage(theta),
        "theta": theta,
        "ms": chosen.ms,
        "notes": notes_of(chosen),
        "picks": picks,
        "nearest": index,
        "cosine": [round(value, 4) for value in cosine],
        "image": "",
        "boxes": [],
    }
    try:
        drawn, boxes = overlay(subject, photo, chosen, order=order)
    except TokensError as error:
        return {**figure, "notes": [*figure["notes"], str(error)]}
    return {**figure, "image": address_of(drawn), "width": drawn.width, "height": drawn.height, "boxes": boxes}


def overlay(subject: Subject, photo: Photo, chosen: Chosen, *, order: bool) -> tuple[Image, list[list[int] | None]]:
    """The overlay without captions, and the box (left, upper, width, height, tile, row, column) of each token's patch.

    Raises:
        TokensError: the tokens have no places on the image.
    """
    selection = chosen.selection
    (places,) = places_of(selection.tokens)
    if subject.view(photo.image) is None:
        raise TokensError(f"{subject.name} does not say how it crops images, so no overlay can be drawn")
    tiles = tiles_of(photo.image, places, view=subject.view, grid=None, number=0)
    corners, _ = sheet_boxes(tiles, SIDE)
    boxes: list[list[int] | None] = []
    for cell in places.cells:
        if cell is None:
            boxes.append(None)
            continue
        tile, row, column = cell
        left, upper, width, height = corners[tile]
        rows, columns = tiles[tile].grid
        across, down = width // columns, height // rows
        boxes.append([left + width * column // columns, upper + height * row // rows, across, down, tile, row, column])
    return painted(tiles, selection.marks.patches(0, places), order=order), boxes


def notes_of(chosen: Chosen) -> list[str]:
    """What a visitor has to know about a method's numbers."""
    selection, notes = chosen.selection, []
    if selection.mixed is not None:
        notes.append("merges dropped tokens into kept ones; coverage counts the kept ones alone")
    added = selection.row_counts[0] - selection.counts[0]
    if added > 0:
        notes.append(f"adds {added} token{'s' if added > 1 else ''} to the kept ones")
    return notes


def address_of(image: Image) -> str:
    """The image as a data address, so that it is nowhere written to a file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def budgets_of(tokens: int) -> list[int]:
    """Budgets of the curve's points for an image of so many tokens."""
    return [*(budget for budget in BUDGETS if budget < tokens), tokens]


def curve_address(curves: Mapping[str, Sequence[Chosen]], theta: float, budget: int) -> str:
    """The curve of theta-coverage over budget, as a data address.

    Args:
        curves: Selections at several budgets, by method.
        theta: Threshold of theta-coverage.
        budget: The budget to mark.
    """
    judged = {
        name: [replace(one.selection, tokens=one.judged) for one in points] for name, points in curves.items() if points
    }
    axes = coverage_curve(judged, theta=theta)
    axes.axvline(budget, color="#66707f", linestyle="--", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(0, 1.02)
    buffer = io.BytesIO()
    axes.figure.savefig(buffer, format="svg")
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
