"""``scope select``: a vision tower alone, several recipes side by side, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.output import check_out, done, loading, note, out, percent, show_json, table, working
from scope_core.cli.overlay import SUFFIXES, save
from scope_core.cli.panels import picture_of
from scope_core.cli.photos import Picture, open_pictures
from scope_core.cli.selections import Outcome, by_note, compare_all, encode, enter, image_facts, saliency_name
from scope_core.cli.shell import split_commas
from scope_core.cli.state import starting_spec, state_of
from scope_core.registry.registry import Registry
from scope_core.structures.receipt import THETAS

IMAGES = typer.Argument(metavar="IMAGE", help="Pictures: files, or demo:NAME (see `scope photos`).", show_default=False)
SPEC = typer.Option(
    metavar="SPEC", help="A recipe, RECIPE@64, RECIPE@25% or a spec file.", show_default="what the zoo recommends"
)
KEEP = typer.Option(
    metavar="K", min=0, help="Tokens to keep per image, instead of the spec's budget.", show_default=False
)
OUT = typer.Option("--out", metavar="FILE", help="Write a picture: .png, .jpg or .webp.", show_default=False)
ORDER = typer.Option("--order", help="Colour the kept patches by the order of the picks.")


def select(
    ctx: typer.Context,
    images: Annotated[list[str], IMAGES],
    tower: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo tower.", show_default="see `scope models`")
    ] = None,
    spec: Annotated[str | None, SPEC] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC,SPEC",
            help="More specs, with commas; recipes without @K take the main one's budget.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[int | None, KEEP] = None,
    out_file: Annotated[Path | None, OUT] = None,
    order: Annotated[bool, ORDER] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Select visual tokens of pictures with a vision tower alone: no language model needed."""
    check_out(out_file, SUFFIXES)
    state = state_of(ctx)
    pictures = open_pictures(images)
    entry = state.zoo("tower", tower).item
    with loading(entry):
        loaded = entry.load()
    with working("selecting"):
        contestants = enter(
            starting_spec(spec, entry), split_commas(compare), keep=keep, registry=state.registry,
            declaration=loaded.declaration,
        )  # fmt: skip
        outcomes = compare_all(contestants, encode(loaded, [picture.image for picture in pictures], contestants))
    notes = [text for one in contestants for text in one.notes]
    if out_file is not None:
        with working("drawing"):
            heading = f"What is kept of {entry.name}'s visual tokens"
            page = picture_of(
                pictures, loaded.view, outcomes, heading=heading, viewer="tower", notes=notes, order=order
            )
        save(page, out_file)
    if json:
        show_json(facts_of(entry.name, pictures, outcomes, notes, out_file, state.registry))
    else:
        _print(entry.name, pictures, outcomes)
    for text in notes:
        note(text)
    if out_file is None and not json:
        done("add --out kept.png for a picture")


def facts_of(
    tower: str,
    pictures: Sequence[Picture],
    outcomes: Sequence[Outcome],
    notes: list[str],
    path: Path | None,
    registry: Registry,
) -> dict[str, Any]:
    """A comparison as plain data."""
    main = outcomes[0].contestant.pruner
    return {
        "tower": tower,
        "saliency": saliency_name(main),
        "specs": [
            {
                "label": one.contestant.label,
                "spec": one.contestant.pruner.spec.to_dict(registry),
                "at": one.contestant.pruner.spec.at,
                "select_ms": one.ms,
                "notes": [*one.contestant.notes, *one.notes],
            }
            for one in outcomes
        ],
        "images": [
            {
                "image": picture.name,
                "width": picture.image.width,
                "height": picture.image.height,
                "selections": [image_facts(one, number) for one in outcomes],
            }
            for number, picture in enumerate(pictures)
        ],
        "notes": notes,
        "out": None if path is None else str(path),
    }


def _print(tower: str, pictures: Sequence[Picture], outcomes: Sequence[Outcome]) -> None:
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    columns: list[Any] = [
        "recipe",
        ("kept", right),
        *((f"θ {theta:g}", right) for theta in THETAS),
    ]
    made = table([*columns, ("saliency", right), ("overlap", right), ("ms", right)], [])
    for number, picture in enumerate(pictures):
        if len(pictures) > 1:
            made.add_row(Text(picture.title, style="bold cyan"))
        for one in outcomes:
            total = int(one.selection.tokens.valid[number].sum())
            made.add_row(
                Text(("  " if len(pictures) > 1 else "") + one.contestant.label + (" *" if one.notes else "")),
                f"{one.selection.counts[number]}/{total}",
                *(percent(share) for share in one.coverage[number]),
                percent(one.saliency[number]) if one.saliency else "n/a",
                "" if one is outcomes[0] else percent(one.overlap[number]),
                f"{one.ms / len(pictures):.1f}",
                end_section=one is outcomes[-1],
            )
    title = Text(f"{tower}: {', '.join(picture.name for picture in pictures)}", style="bold cyan")
    source = saliency_name(outcomes[0].contestant.pruner)
    legend = ["θ: share of all tokens whose best cosine to a kept token is at least that"]
    legend += [f"saliency: share of all '{source}' that the kept tokens hold"] if outcomes[0].saliency else []
    legend += [f"overlap: Jaccard index with {outcomes[0].contestant.label}"] if len(outcomes) > 1 else []
    legend += ["ms: selection alone, per image"]
    legend += [f"* {', '.join(labels)}: {text}" for text, labels in by_note(outcomes).items()]
    legend += [f"{one.contestant.label} is {one.contestant.file}" for one in outcomes if one.contestant.file]
    out().print(Group(title, made, Text("\n".join(legend), style="dim")))
