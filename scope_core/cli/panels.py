"""Selections as panels, and the overlays of ``scope select`` and ``scope run``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scope_core.cli.output import percent
from scope_core.cli.overlay import Panel, Strip, draw
from scope_core.cli.selections import Selected, Shown
from scope_core.errors import TokensError

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.cli.photos import Picture


def strip_of(view: Image, shown: Shown, first: Panel | None = None, others: Sequence[Panel] = ()) -> Strip:
    """The panels of one image: the image itself, then the tokens that each method keeps.

    Args:
        view: The image that the tower reads.
        shown: The tokens that each method keeps.
        first: Texts of the first panel.
        others: Texts of the panels of the methods.

    Raises:
        TokensError: the tokens have no positions on one tile.
    """
    if shown.grid is None:
        raise TokensError(
            "these tokens have no grid positions, or are on several tiles, so no overlay can be drawn; omit --out"
        )
    texts = others or [Panel("")] * len(shown.kept)
    panels = [
        replace(text, picks=kept.cells, grid=kept.grid, stages=None if others else kept.stages)
        for text, kept in zip(texts, shown.kept, strict=True)
    ]
    return Strip(view, shown.grid, (first or Panel(""), *panels))


def picture_of(
    pictures: Sequence[Picture],
    view: Callable[[Image], Image],
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
        view: Function from an image to the one that the tower reads.
        selected: The selections.
        heading: Line above everything.
        viewer: ``"tower"`` or ``"model"``, for the caption of the image itself.
        notes: Lines below everything.
        order: True to colour the kept patches by the order of the picks.

    Raises:
        TokensError: the tokens have no positions on one tile.
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
        patches = " x ".join(map(str, image.grid or ()))
        first = Panel(picture.title, f"{image.tokens} tokens", small=f"as the {viewer} sees it: {patches} patches")
        strips.append(strip_of(view(picture.image), image, first, texts))
    lines = [f"coverage at {middle}: share of all tokens whose best cosine to a kept token is {middle} or more"]
    lines += [*selected.legend, *(f"note: {text}" for text in notes)]
    return draw(strips, heading=heading, footnotes=lines, order=order)
