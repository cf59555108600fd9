"""Selections as panels, and the pictures of ``scope select`` and ``scope run`` made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from scope_core.cli.output import percent
from scope_core.cli.overlay import Panel, Strip, draw
from scope_core.cli.selections import Judge, Shown, by_note, notes_on
from scope_core.errors import TokensError

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.cli.methods import Method
    from scope_core.cli.photos import Picture


def strip_of(view: Image, shown: Shown, first: Panel | None = None, others: Sequence[Panel] = ()) -> Strip:
    """The panels of one image: the image itself, then what each method keeps of it.

    Args:
        view: The image as the tower sees it.
        shown: What each method keeps.
        first: Texts of the first panel.
        others: Texts of the panels of the methods.

    Raises:
        TokensError: the tokens carry no positions on one tile.
    """
    if shown.grid is None:
        raise TokensError(
            "these tokens carry no grid positions, or lie on several tiles, so no picture can be drawn; omit --out"
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
    methods: Sequence[Method],
    shown: Sequence[Shown],
    judge: Judge,
    *,
    heading: str,
    viewer: str,
    notes: Sequence[str] = (),
    order: bool = False,
) -> Image:
    """One row of panels per picture.

    Args:
        pictures: The pictures.
        view: What the tower sees of a picture.
        methods: Who selected.
        shown: What they kept of each picture.
        judge: How they were judged.
        heading: A line above everything.
        viewer: ``"tower"`` or ``"model"``, for the caption of the picture itself.
        notes: Lines below everything.
        order: Colour the kept patches by the order of the picks.

    Raises:
        TokensError: the tokens carry no positions on one tile.
    """
    about = [notes_on(one, [row.kept[n] for row in shown], judge) for n, one in enumerate(methods)]
    low, middle, high = (f"{theta:g}" for theta in judge.thetas)
    strips = []
    for picture, row in zip(pictures, shown, strict=True):
        texts = []
        for number, kept in enumerate(row.kept):
            below, share, above = kept.coverage
            small = f"coverage {percent(below)} at {low}, {percent(above)} at {high}"
            small += f";  overlap {percent(row.overlap(number, 0))}" if number else ""
            title, aside = (
                methods[number].label + (" *" if about[number] else ""),
                f"{len(kept.picks)} of {kept.tokens}",
            )
            bars = ((f"coverage at {middle}", share), ("share of saliency", kept.share))
            texts.append(Panel(title, f"{aside} kept", bars=bars, small=small))
        patches = " x ".join(map(str, row.grid or ()))
        first = Panel(picture.title, f"{row.tokens} tokens", small=f"as the {viewer} sees it: {patches} patches")
        strips.append(strip_of(view(picture.image), row, first, texts))
    labels = [one.label for one in methods]
    lines = [f"coverage at {middle}: share of all tokens whose best cosine to a kept token is {middle} or more"]
    if judge.source is not None and shown[0].kept[0].share is not None:
        lines.append(f"share of saliency: of all '{judge.source.spec.name}', the part on kept tokens")
    if len(methods) > 1:
        lines.append(f"overlap: tokens kept by both it and {labels[0]}, of those kept by either")
    lines += [f"* {', '.join(labels[n - 1] for n in numbers)}: {text}" for text, numbers in by_note(about).items()]
    lines += [f"{one.label} is {one.file}" for one in methods if one.file]
    return draw(strips, heading=heading, footnotes=[*lines, *(f"note: {text}" for text in notes)], order=order)
