"""Selections as panels, and the overlays of ``scope select`` and ``scope run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scope_core.cli.output import writing
from scope_core.cli.selections import Kept, Selected, Shown
from scope_core.drawing.page import Panel, Strip, draw
from scope_core.drawing.patches import Patches, Tile
from scope_core.drawing.text import percent
from scope_core.errors import TokensError
from scope_core.structures.overlay import MERGED_NOTE, own_grids, tiles_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.cli.photos import Picture

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def strip_of(
    image: Any,
    shown: Shown,
    first: Panel | None = None,
    others: Sequence[Panel] = (),
    *,
    view: Callable[[Any], Any] = lambda image: image,
) -> Strip:
    """The panels of one image: the image itself, then the tokens that each method keeps.

    Args:
        image: The image.
        shown: The tokens that each method keeps.
        first: Texts of the first panel.
        others: Texts of the panels of the methods.
        view: Function from the image to the one that the tower reads, or to its tiles; by default the image itself.

    Raises:
        TokensError: the tokens have no places on the image.
    """
    if not shown.places.extents:
        raise TokensError("these tokens have no grid positions, so no overlay can be drawn; omit --out")
    tiles = tiles_of(image, shown.places, view=view, grid=None, number=0)
    texts = others or [Panel("")] * len(shown.kept)
    panels = [
        replace(text, patches=patches_of(kept, tiles, colour_stages=not others))
        for text, kept in zip(texts, shown.kept, strict=True)
    ]
    return Strip(tiles, (first or Panel(""), *panels))


def patches_of(kept: Kept, tiles: Sequence[Tile], *, colour_stages: bool = False) -> Patches:
    """The kept, the merged and all patches of an image's tiles, or of a clip's frames."""
    cells = [(cell, step) for cell, step in zip(kept.cells, kept.stages or [0] * len(kept.cells), strict=True) if cell]
    return Patches(
        picks=[cell for cell, _ in cells],
        stages=[step for _, step in cells] if colour_stages and kept.stages is not None else None,
        merged=kept.merged_cells,
        present=kept.places.present,
        grids=own_grids(tiles, kept.places, None),
    )


def picture_of(
    pictures: Sequence[Picture],
    view: Callable[[Image], Any],
    selected: Selected,
    *,
    heading: str,
    viewer: str,
    notes: Sequence[str] = (),
    order: bool = False,
) -> Image:
    """The overlay, with one row of panels per image.

    Args:
        pictures: The images.
        view: Function from an image to the one that the tower reads, or to its tiles.
        selected: The selections.
        heading: Line above everything.
        viewer: ``"tower"`` or ``"model"``, for the caption of the image itself.
        notes: Lines below everything.
        order: True to colour the kept patches by the order of the picks.

    Raises:
        TokensError: the tokens have no places on the image.
    """
    low, middle, high = (f"{theta:g}" for theta in selected.judge.thetas)
    strips = []
    for picture, image in zip(pictures, selected.images, strict=True):
        texts = []
        for number, (label, kept) in enumerate(zip(selected.labels, image.kept, strict=True)):
            below, share, above = kept.coverage
            small = f"coverage {percent(below)} at {low}, {percent(above)} at {high}"
            small += f";  overlap {percent(image.overlap(number, 0))}" if number else ""
            bars = ((f"coverage at {middle}", share), ("share of saliency", kept.share))
            texts.append(Panel(label, f"{len(kept.picks)} of {kept.tokens} kept", bars=bars, small=small))
        first = Panel(picture.title, f"{image.tokens} tokens", small=f"as the {viewer} sees it: {image.size}")
        strips.append(strip_of(picture.image, image, first, texts, view=view))
    lines = [f"coverage at {middle}: share of all tokens whose best cosine to a kept token is {middle} or more"]
    if any(kept.merged_cells for image in selected.images for kept in image.kept):
        lines.append(MERGED_NOTE)
    lines += [*selected.legend, *(f"note: {text}" for text in notes)]
    return draw(strips, heading=heading, footnotes=lines, order=order)


def save(page: Image, path: Path) -> None:
    """Write an overlay, in the format that the ending names.

    Raises:
        ZooError: it cannot be written.
    """
    with writing(path):
        if path.suffix.lower() == ".png":
            page.save(path, optimize=True)
        else:
            page.save(path, quality=92)
