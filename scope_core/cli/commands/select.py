"""``scope select``: selections of several methods from a vision tower's tokens, as a table and as an overlay."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.clips import ClipTower, check_moving, draw_clips, frame_facts, frames_table, open_clips, suffixes
from scope_core.cli.methods import HELP, Method, amount, left_out_note, load_tower, read_methods
from scope_core.cli.output import check_out, done, note, out, progress, show_json, table, working
from scope_core.cli.panels import picture_of, save
from scope_core.cli.photos import Picture, open_pictures
from scope_core.cli.selections import Judge, Kept, Selected, Shown, Trial, shown_of, source_of
from scope_core.cli.shell import split_commas
from scope_core.cli.state import CACHE_DIR, starting_spec, state_of
from scope_core.drawing.text import percent
from scope_core.structures.receipt import THETAS

if TYPE_CHECKING:
    from scope_core.parts.zoo import Tower

IMAGES = typer.Argument(
    metavar="IMAGE", help="Images: files, or demo:NAME (see `scope photos`); or videos.", show_default=False
)
SPEC = typer.Option(
    metavar="SPEC", help="A recipe, RECIPE@64, RECIPE@25% or a spec file.", show_default="suggested by the zoo"
)
KEEP = typer.Option(
    metavar="K", help="Tokens to keep per image, e.g. 64 or 25%, instead of the spec's budget.", show_default=False
)
OUT = typer.Option(
    "--out",
    metavar="FILE",
    help="Write an overlay: .png, .jpg or .webp; of a video .mp4 or .gif too.",
    show_default=False,
)
AT = typer.Option(
    metavar="POINT",
    help="Take all tokens at this interception point instead of each spec's.",
    show_default="each spec's own",
)
FPS = typer.Option(metavar="N", help="Frames per second of a video.", show_default="2, or fewer for at most 32 frames")
START = typer.Option(metavar="SECONDS", help="Where a video begins to be read.", show_default=False)
END = typer.Option(metavar="SECONDS", help="Where a video ends to be read.", show_default=False)
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
            help=f"More methods, with commas: {HELP}. Recipes without @K take the first one's budget.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[str | None, KEEP] = None,
    at: Annotated[str | None, AT] = None,
    out_file: Annotated[Path | None, OUT] = None,
    order: Annotated[bool, ORDER] = False,
    fps: Annotated[float | None, FPS] = None,
    start: Annotated[float, START] = 0.0,
    end: Annotated[float | None, END] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Select visual tokens of images or videos with a vision tower alone, without a language model."""
    check_moving(out_file, images)
    check_out(out_file, suffixes(images))
    kept_of_each = None if keep is None else amount(keep)
    state = state_of(ctx, cache_dir=cache_dir)
    clips = open_clips(images, fps=fps, start=start, end=end)
    pictures = [Picture(clip.name, clip) for clip in clips] or open_pictures(images)
    entry = state.zoo("tower", tower).item
    with working("reading specs"):
        texts = [starting_spec(spec, entry), *split_commas(compare)]
        methods = read_methods(texts, state.registry, keep=kept_of_each, lead_keeps=True, at=at)
    loaded: Tower = load_tower(entry, methods, at=at)
    if clips:
        loaded = ClipTower(loaded)
    main = methods.run[0]
    judge = Judge(main.at, THETAS, source_of(main.pruner))
    with progress("selecting") as tell:
        # images are selected together, as those of one prompt; videos one by one
        images_of = [picture.image for picture in pictures]
        runs = [[clip] for clip in images_of] if clips else [images_of]
        columns: list[list[Kept]] = [[] for _ in methods.run]
        shown: list[Shown] = []
        for run in runs:
            trial = Trial(loaded, run, methods.run, judge)
            for number, (method, column) in enumerate(zip(methods.run, columns, strict=True), 1):
                column += trial.kept(method)
                tell(len(shown) // len(run) * len(methods.run) + number, len(runs) * len(methods.run))
            shown += shown_of(trial.tokens[judge.at], [column[len(shown) :] for column in columns])
        selected = Selected(methods.run, judge, shown)
    notes = [*methods.notes, *(left_out_note(one) for one in methods.left_out if one.method.named)]
    if out_file is not None:
        with working("drawing"):
            heading = f"What is kept of {entry.name}'s visual tokens"
            if clips:
                views = [[loaded.view(frame) for frame in clip.frames] for clip in clips]
                draw_clips(clips, views, selected, out_file, heading=heading, notes=notes, order=order)
            else:
                save(
                    picture_of(
                        pictures, loaded.view, selected, heading=heading, viewer="tower", notes=notes, order=order
                    ),
                    out_file,
                )
    if json:
        show_json(
            {
                "tower": entry.name,
                "saliency": "" if judge.source is None else judge.source.spec.name,
                "specs": [
                    {
                        "label": one.label,
                        "spec": one.pruner.spec.to_dict(state.registry),
                        "at": one.at,
                        "select_ms": column[0].ms,
                        "notes": texts,
                    }
                    for one, column, texts in zip(methods.run, columns, selected.notes, strict=True)
                ],
                "images": [_image_facts(*pair, methods.run) for pair in zip(pictures, selected.images, strict=True)],
                **({"frames": [frame_facts(*pair) for pair in zip(clips, shown, strict=True)]} if clips else {}),
                "notes": notes,
                "out": None if out_file is None else str(out_file),
            }
        )
    else:
        _print(entry.name, pictures, selected)
        if clips:
            out().print(frames_table(clips, selected))
    for text in methods.notes:
        note(text)
    if out_file is None and not json:
        done("add --out kept.png to draw the kept patches")


def _image_facts(picture: Picture, shown: Shown, methods: Sequence[Method]) -> dict[str, Any]:
    """The selections from one image, as plain data."""
    return {
        "image": picture.name,
        "width": picture.image.width,
        "height": picture.image.height,
        "selections": [
            {
                "label": one.label,
                "tokens": kept.tokens,
                "kept_count": len(kept.picks),
                "rows": kept.rows,
                "theta_coverage": dict(zip(map(str, THETAS), kept.coverage, strict=True)),
                "saliency_share": kept.share,
                "overlap": shown.overlap(number, 0),
                "picks": kept.picks,
                "kept": sorted(kept.picks),
                "gains": kept.gains,
                "scores": kept.scores,
            }
            for number, (one, kept) in enumerate(zip(methods, shown.kept, strict=True))
        ],
    }


def _print(tower: str, pictures: Sequence[Picture], selected: Selected) -> None:
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    thetas: list[Any] = [(f"θ {theta:g}", right) for theta in selected.judge.thetas]
    numbers = table(["method", ("kept", right), *thetas, ("saliency", right), ("overlap", right), ("ms", right)], [])
    for picture, image in zip(pictures, selected.images, strict=True):
        if len(pictures) > 1:
            numbers.add_row(Text(picture.title, style="bold cyan"))
        for number, (label, kept) in enumerate(zip(selected.labels, image.kept, strict=True)):
            numbers.add_row(
                Text(("  " if len(pictures) > 1 else "") + label),
                f"{len(kept.picks)}/{kept.tokens}",
                *map(percent, kept.coverage),
                "n/a" if kept.share is None else percent(kept.share),
                percent(image.overlap(number, 0)) if number else "",
                f"{kept.ms / len(pictures):.1f}",
                end_section=kept is image.kept[-1],
            )
    title = Text(f"{tower}: {', '.join(picture.name for picture in pictures)}", style="bold cyan")
    legend = ["θ: share of all tokens whose best cosine to a kept token is at least that", *selected.legend]
    legend.append("ms: selection alone, per image")
    out().print(Group(title, numbers, Text("\n".join(legend), style="dim")))
