"""``scope compare``: options, and the order of steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scope_bench.compare.measure import measure, saliency_source
from scope_bench.compare.report import Comparison, comparison
from scope_bench.compare.tables import tables
from scope_core.cli.clips import ClipTower, frames_table, open_clips
from scope_core.cli.commands.select import AT, END, FPS, IMAGES, KEEP, START
from scope_core.cli.methods import EVERY, HELP, amount, load_tower, read_methods
from scope_core.cli.panels import SUFFIXES, save
from scope_core.cli.selections import Judge
from scope_core.commands import (
    CACHE_DIR,
    THETAS,
    Picture,
    check_out,
    note,
    open_pictures,
    out,
    plain_text,
    progress,
    show_json,
    split_commas,
    state_of,
    working,
    write_text,
)

if TYPE_CHECKING:
    from scope_core.adapters import Tower
    from scope_core.cli.selections import Shown

DEFAULT_THETAS = ",".join(map(str, THETAS))


def compare(
    ctx: typer.Context,
    images: Annotated[list[str], IMAGES],
    specs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC,SPEC",
            help=f"Methods to compare, separated by commas: {HELP}.",
            show_default=EVERY,
        ),
    ] = None,
    keep: Annotated[str | None, KEEP] = None,
    tower: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo tower.", show_default="see `scope models`")
    ] = None,
    at: Annotated[str | None, AT] = None,
    thetas: Annotated[
        str, typer.Option(metavar="T,T", help="Thresholds of theta-coverage, from -1 to 1.")
    ] = DEFAULT_THETAS,
    saliency: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Saliency whose kept share is measured.", show_default="the default source"),
    ] = None,
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Timed runs of each selection.")] = 5,
    fps: Annotated[float | None, FPS] = None,
    start: Annotated[float, START] = 0.0,
    end: Annotated[float | None, END] = None,
    skip: Annotated[
        bool,
        typer.Option("--skip", help="List methods that fail, or the first one if it cannot run, instead of stopping."),
    ] = False,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE|FOLDER",
            help="Write a figure (.png, .jpg or .webp); or figure, table and JSON into a folder.",
            show_default=False,
        ),
    ] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare methods on images or videos with a tower alone: the tokens they keep, their coverage, their overlap."""
    files = _files(out_file)
    levels = _thetas(thetas)
    wanted = split_commas(specs) if specs else [EVERY]
    if not wanted:
        raise typer.BadParameter("no spec is given; write e.g. scope@64,random@64", param_hint="'--specs'")
    kept = None if keep is None else amount(keep)
    state = state_of(ctx, cache_dir=cache_dir)
    clips = open_clips(images, fps=fps, start=start, end=end)
    pictures = [Picture(clip.name, clip) for clip in clips] or open_pictures(images)
    entry = state.zoo("tower", tower).item
    with working("reading specs"):
        methods = read_methods(wanted, state.registry, keep=kept, at=at)
    hint = ", or list it as not run with --skip"
    loaded: Tower = load_tower(entry, methods, at=at, skip=skip, hint=hint)
    if clips:
        loaded = ClipTower(loaded)
    found = loaded.declaration
    source = saliency_source(saliency, registry=state.registry, declaration=found)
    judge = Judge(at if at is not None else next(iter(found.points)), levels, source, repeats)
    with progress("comparing") as tell:
        named = [(picture.name, picture.image) for picture in pictures]
        selected = measure(loaded, methods, named, judge, skip=skip, progress=tell)
    methods.check(entry.name, skip=True)
    result = comparison(entry.name, selected, methods, pictures, registry=state.registry, out=list(map(str, files)))
    if json:
        show_json(result.model_dump(mode="json"))
    else:
        console = out()
        console.print(tables(result, width=console.width))
        if clips:
            console.print(frames_table(clips, selected))
    _write(files, result, pictures, loaded, selected.images)
    if not files and not json:
        note("add --out FILE.png for a figure, or --out FOLDER for figure, table and JSON")


def _files(path: Path | None) -> list[Path]:
    """The files that will be written, after checking that they can be."""
    if path is None:
        return []
    if not path.is_dir() and path.suffix:
        check_out(path, SUFFIXES)
        return [path]
    check_out(path / "compare.png" if path.is_dir() else path)
    return [path / name for name in ("compare.txt", "compare.json", "compare.png")]


def _thetas(text: str) -> tuple[float, ...]:
    """The different thresholds in rising order."""
    try:
        found = sorted({float(part) for part in split_commas([text])})
    except ValueError:
        found = []
    if not found or not all(-1 <= theta <= 1 for theta in found):
        raise typer.BadParameter(
            f"'{text}' is not a list of cosines; write numbers from -1 to 1, e.g. 0.7,0.8,0.9", param_hint="'--thetas'"
        )
    return tuple(found)


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
