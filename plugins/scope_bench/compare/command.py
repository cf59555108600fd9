"""``scope compare``: options, and the order of events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_bench.compare.measure import Judge, Shown, measure
from scope_bench.compare.methods import EVERY, Field, enter, saliency_source
from scope_bench.compare.report import Comparison, comparison
from scope_bench.compare.tables import tables
from scope_core.cli.commands.select import IMAGES, KEEP
from scope_core.cli.output import check_out, loading, note, out, plain_text, progress, show_json, working, write_text
from scope_core.cli.overlay import SUFFIXES, save
from scope_core.cli.photos import Picture, open_pictures
from scope_core.cli.selections import is_file
from scope_core.cli.shell import split_commas
from scope_core.cli.state import state_of
from scope_core.errors import SignalError
from scope_core.structures.receipt import THETAS

if TYPE_CHECKING:
    from scope_core.parts.zoo import Tower

DEFAULT_THETAS = ",".join(map(str, THETAS))


def compare(
    ctx: typer.Context,
    images: Annotated[list[str], IMAGES],
    specs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC,SPEC",
            help=f"What to compare, with commas: recipes, RECIPE@64, spec files. '{EVERY}' stands for every recipe "
            f"that the tower can run.",
            show_default=EVERY,
        ),
    ] = None,
    keep: Annotated[int | None, KEEP] = None,
    tower: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo tower.", show_default="see `scope models`")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="POINT",
            help="Take all tokens at this interception point, whatever the specs say.",
            show_default="each spec's own",
        ),
    ] = None,
    thetas: Annotated[
        str, typer.Option(metavar="T,T", help="Thresholds of theta-coverage, from -1 to 1.")
    ] = DEFAULT_THETAS,
    saliency: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Whose share the kept tokens hold is measured.", show_default="the default source"
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Timed runs of each selection.")] = 5,
    skip: Annotated[bool, typer.Option("--skip", help="List specs that cannot run, instead of stopping.")] = False,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE|FOLDER",
            help="Write a picture (.png, .jpg or .webp); or picture, table and JSON into a folder.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare methods on photographs with a vision tower alone: what they keep, what it covers, how they overlap."""
    files = _files(out_file)
    levels = _thetas(thetas)
    wanted = split_commas(specs) if specs else [EVERY]
    if not wanted:
        raise typer.BadParameter("no spec is named; write e.g. scope@64,random@64", param_hint="'--specs'")
    state = state_of(ctx)
    pictures = open_pictures(images)
    entry = state.zoo("tower", tower).item
    with loading(entry):
        loaded: Tower = entry.load()
        found = loaded.declaration
        field = enter(wanted, keep=keep, at=at, skip=skip, registry=state.registry, declaration=found)
        source = saliency_source(saliency, registry=state.registry, declaration=found)
    _check(field, entry.name)
    judge = Judge(at if at is not None else next(iter(found.points)), levels, source, repeats)
    with progress(len(field.entrants) * len(pictures), "comparing") as advance:
        named = [(picture.name, picture.image) for picture in pictures]
        field.entrants, failed, shown = measure(loaded, field.entrants, named, judge, advance=advance)
    field.absent += failed
    _check(field, entry.name)
    result = comparison(entry.name, judge, field, pictures, shown, registry=state.registry, out=list(map(str, files)))
    if json:
        show_json(result.model_dump(mode="json"))
    else:
        console = out()
        console.print(tables(result, width=console.width))
    _write(files, result, pictures, loaded, shown)
    if not files and not json:
        note("add --out FILE.png for a picture, --out FOLDER for picture, table and JSON")


def _files(path: Path | None) -> list[Path]:
    """What will be written; refused here if it cannot be."""
    if path is None:
        return []
    if not path.is_dir() and path.suffix:
        check_out(path, SUFFIXES)
        return [path]
    check_out(path / "compare.png" if path.is_dir() else path)
    return [path / name for name in ("compare.txt", "compare.json", "compare.png")]


def _thetas(text: str) -> tuple[float, ...]:
    """The thresholds, in rising order, each once."""
    try:
        found = sorted({float(part) for part in split_commas([text])})
    except ValueError:
        found = []
    if not found or not all(-1 <= theta <= 1 for theta in found):
        raise typer.BadParameter(
            f"'{text}' is no list of cosines; write numbers from -1 to 1, e.g. 0.7,0.8,0.9", param_hint="'--thetas'"
        )
    return tuple(found)


def _check(field: Field, tower: str) -> None:
    """Refuse a comparison without specs that must run, and one with nothing left.

    Raises:
        SignalError: names each spec, and what it lacks.
    """
    missing = [one for one in field.absent if one.must or not field.entrants]
    if missing:
        files = [f", {one.given}" if is_file(one.given) else "" for one in missing]
        lines = "".join(f"\n  {one.label}{file}: {one.reason}" for one, file in zip(missing, files, strict=True))
        hint = "Leave them out, or list them as not run with --skip." if field.entrants else "Nothing is left to run."
        raise SignalError(f"specs that cannot run on {tower} alone:{lines}\n{hint}")
    if not field.entrants:
        raise SignalError("there is nothing to compare: no recipe is installed; `scope doctor` says why")


def _write(
    files: Sequence[Path], result: Comparison, pictures: Sequence[Picture], tower: Tower, shown: Sequence[Shown]
) -> None:
    from scope_bench.compare.figure import draw

    for path in files:
        path.parent.mkdir(exist_ok=True)
        if path.suffix.lower() in SUFFIXES:
            with working("drawing"):
                page = draw(result, [tower.view(picture.image) for picture in pictures], shown)
            save(page, path)
        elif path.suffix == ".json":
            write_text(path, result.model_dump_json(indent=2) + "\n")
        else:
            write_text(path, plain_text(tables(result)))
