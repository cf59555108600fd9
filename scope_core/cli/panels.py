"""A comparison as a picture: what stands on and under the panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from scope_core.cli.output import percent
from scope_core.cli.overlay import Panel, Strip, draw
from scope_core.cli.selections import Outcome, by_note, places, saliency_name
from scope_core.structures.receipt import THETAS

if TYPE_CHECKING:
    from PIL.Image import Image

    from scope_core.cli.photos import Picture


def picture_of(
    pictures: Sequence[Picture],
    view: Callable[[Image], Image],
    outcomes: Sequence[Outcome],
    *,
    heading: str,
    viewer: str,
    notes: Sequence[str] = (),
    order: bool = False,
) -> Image:
    """One row of panels per picture.

    Args:
        pictures: The pictures, in the order of the selections' rows.
        view: What the tower sees of a picture.
        outcomes: Who kept what.
        heading: A line above everything.
        viewer: ``"tower"`` or ``"model"``, for the caption of the picture itself.
        notes: Lines below everything.
        order: Colour the kept patches by the order of the picks.

    Raises:
        TokensError: the tokens carry no positions on one tile.
    """
    strips = [_strip(view(p.image), p.title, viewer, outcomes, number) for number, p in enumerate(pictures)]
    return draw(strips, heading=heading, footnotes=_footnotes(outcomes, notes), order=order)


def _strip(view: Image, title: str, viewer: str, outcomes: Sequence[Outcome], image: int) -> Strip:
    """The panels of one picture: the picture itself, then one per contestant."""
    tokens = outcomes[0].selection.tokens
    grid, _ = places(tokens, image)
    total = int(tokens.valid[image].sum())
    panels = [Panel(title, f"{total} tokens", small=f"as the {viewer} sees it: {grid[0]} x {grid[1]} patches")]
    low, middle, high = (f"{theta:g}" for theta in THETAS)
    for one in outcomes:
        here, where = places(one.selection.tokens, image)
        picks = [where[pick] for pick in one.selection.picks[image].tolist() if pick >= 0]
        below, share, above = one.coverage[image]
        small = f"coverage {percent(below)} at {low}, {percent(above)} at {high}"
        if one is not outcomes[0]:
            small += f";  overlap {percent(one.overlap[image])}"
        panels.append(
            Panel(
                one.contestant.label + (" *" if one.notes else ""),
                f"{len(picks)} of {int(one.selection.tokens.valid[image].sum())} kept",
                picks if here == grid else [],
                (
                    (f"coverage at {middle}", share),
                    ("share of saliency", one.saliency[image] if one.saliency else None),
                ),
                small,
            )
        )
    return Strip(view, grid, tuple(panels))


def _footnotes(outcomes: Sequence[Outcome], notes: Sequence[str]) -> list[str]:
    """What the numbers under the panels mean, and the notes."""
    main, theta = outcomes[0].contestant, f"{THETAS[1]:g}"
    lines = [f"coverage at {theta}: share of all tokens whose best cosine to a kept token is {theta} or more"]
    if outcomes[0].saliency is not None:
        lines.append(f"share of saliency: of all '{saliency_name(main.pruner)}', the part on kept tokens")
    if len(outcomes) > 1:
        lines.append(f"overlap: tokens kept by both it and {main.label}, of those kept by either")
    lines += [f"* {', '.join(labels)}: {text}" for text, labels in by_note(outcomes).items()]
    lines += [f"{one.contestant.label} is {one.contestant.file}" for one in outcomes if one.contestant.file]
    return [*lines, *(f"note: {text}" for text in notes)]
