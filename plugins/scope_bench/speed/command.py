"""``scope bench speed``: options, and the order of steps."""

from __future__ import annotations

import importlib.util
import json as json_module
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from scope_core.cli.methods import HELP, read_methods
from scope_core.commands import (
    CACHE_DIR,
    State,
    did_you_mean,
    done,
    make_folder,
    note,
    numbers,
    out,
    show_json,
    split_commas,
    state_of,
    working,
    write_text,
)

if TYPE_CHECKING:
    import torch


SECTIONS = ("select", "growth", "profile", "published", "batches", "capture", "generate")
ON_REQUEST = ("profile", "published", "batches")
NEED_MODEL = ("capture", "generate")
KEEPS = (16, 64, 192)
GROWTH = (144, 288, 576, 1152, 2304)
QUESTION = "What is shown here? Name every object, where it is, and what it is next to."
EXAMPLES = (
    "scope bench speed --quick",
    "scope bench speed --photos demo:astronaut,demo:coffee --tokens 576,2880 --keep 64,192,640 --out report",
    "scope bench speed profile --clock cpu --threads 1",
    "scope bench speed published --tokens 576 --width 1024 --keep 64,192 --clock cpu --threads 1",
    "scope bench speed batches --threads 2",
    "scope bench speed capture,generate --model scenes-llava --keep 64",
)
NUMBA = "numba is not installed, so greedy runs in torch, which is slower: pip install numba"
Strings = list[str] | None


def speed(
    ctx: typer.Context,
    sections: Annotated[
        Strings,
        typer.Argument(
            metavar="[SECTION,...]",
            help="select, growth, profile, published, batches, capture, generate.",
            show_default=False,
        ),
    ] = None,
    specs: Annotated[
        Strings,
        typer.Option(
            metavar="SPEC,...",
            help=f"Methods: {HELP}. Their budgets are replaced by --keep.",
            show_default="the zoo's recommendation",
        ),
    ] = None,
    tokens: Annotated[
        Strings,
        typer.Option(
            metavar="N,...",
            help="Tokens to select from.",
            show_default="576; profile: 144 to 2880; batches: 144 to 576",
        ),
    ] = None,
    keep: Annotated[
        Strings,
        typer.Option(
            metavar="K,...", help="Tokens to keep.", show_default="16,64,192; profile: 16,64,N/3; batches, models: 64"
        ),
    ] = None,
    width: Annotated[int, typer.Option(metavar="D", min=1, help="Width of synthetic features.")] = 384,
    photos: Annotated[
        Strings,
        typer.Option(metavar="IMAGE,...", help="Images to take features of.", show_default="synthetic features"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A zoo model, for capture and generate.", show_default="see `scope models`"),
    ] = None,
    question: Annotated[str, typer.Option(metavar="TEXT", help="Question for the model.", show_default=False)] = (
        QUESTION
    ),
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Prompts in one call of the model.")] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Threads of torch.", show_default="torch's default")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, ...")] = "cpu",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        typer.Option(help="Data type of features and of the model.", show_default="float32; the model's dtype"),
    ] = None,
    clock: Annotated[
        Literal["wall", "cpu"],
        typer.Option(help="Wall time, or processor time, which other programs disturb less (with --threads 1)."),
    ] = "wall",
    allocator: Annotated[
        Literal["warm", "fresh"],
        typer.Option(help="Keep freed memory, as a process that has run a model does (warm), or return it (fresh)."),
    ] = "warm",
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="Largest number of rounds for each entry.")] = 25,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="S", min=0, help="Seconds after which an entry has no further rounds, except the first 3."
        ),
    ] = 10.0,
    steps: Annotated[bool, typer.Option("--steps/--no-steps", help="Also time further tokens of generate.")] = True,
    libraries: Annotated[
        bool, typer.Option("--libraries/--no-libraries", help="Also time other installed libraries.")
    ] = True,
    loop: Annotated[bool, typer.Option("--loop/--no-loop", help="Also time SCOPE's formula as a plain loop.")] = True,
    reference: Annotated[
        bool, typer.Option("--reference/--no-reference", help="Also time the cosine matrix of all tokens alone.")
    ] = True,
    quick: Annotated[bool, typer.Option("--quick", help="At most five rounds and two seconds for each entry.")] = False,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for speed.json, speed.md and speed.png (no picture of profile, published and batches).",
            show_default=False,
        ),
    ] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the time of selection, of reading signals, and to the first token, with references and ideals."""
    chosen = _sections(sections, model)
    sizes = numbers(tokens, "--tokens", (576,))
    keeps = numbers(keep, "--keep", tuple(k for k in KEEPS if k <= max(sizes)) or (max(sizes),))
    if clock == "cpu" and (threads or 0) != 1:
        raise typer.BadParameter(
            "processor time adds up over threads; give --threads 1 as well", param_hint="'--clock'"
        )
    make_folder(out_dir, "speed.png")
    state = state_of(ctx, cache_dir=cache_dir)
    with working("loading torch"):
        from scope_bench.speed import batches, timing
        from scope_bench.speed.machine import machine
        from scope_bench.speed.profile import sizes_of as profiled_sizes
        from scope_bench.speed.sections import as_published, in_batches, material_of, with_model, without_model
        from scope_bench.speed.select import Settings, cases, check_device, check_size, pruners
        from scope_bench.speed.tables import head, lacks_numba, markdown, tables
        from scope_bench.speed.trials import on_tensors, warn_skipped
    where = check_device(device)
    effort = timing.Effort(min(rounds, 5), min(seconds, 2.0)) if quick else timing.Effort(rounds, seconds)
    settings = Settings(clock, effort, where, _dtype(dtype or "float32"), loop, libraries, reference)
    report: dict[str, Any] = {}
    with timing.threads(threads), timing.allocator(allocator):
        report |= {"clock": clock, "allocator": allocator, "machine": machine(where), "effort": vars(effort)}
        if lacks_numba(report) and set(chosen) != {"capture"}:
            note(NUMBA)
        if "published" in chosen:
            for size in sizes:
                check_size(size, settings)
            report |= as_published(sizes, width, keeps, settings, state)
        if {"select", "growth", "profile", "batches"} & set(chosen):
            # check everything before anything is computed
            plan = cases(sizes, keeps)
            grown = [size for size in GROWTH if size <= max(sizes)] or [max(sizes)]
            grown = sorted({*grown, max(sizes)}) if "growth" in chosen else []
            plan = plan if "select" in chosen else []
            staged = profiled_sizes(sizes if tokens else None, keeps if keep else None) if "profile" in chosen else []
            names = _methods(specs, "tower", None, state)
            names, skipped = on_tensors(names, min(sizes), min(keeps), state.registry)
            warn_skipped(skipped)
            report["skipped"] = skipped
            alone = [name for name in ("growth", "profile", "batches") if name in chosen]
            if alone and len(names) > 1:
                note(f"{' and '.join(alone)} measure{'s' * (len(alone) == 1)} only the first of --specs: {names[0]}")
            most = max([size for size, _ in plan + staged] + grown, default=0)
            if most:
                check_size(most, settings, pruners(names, min(*keeps, most), state.registry).values())
                material = material_of(most, width, split_commas(photos), state)
                report["features"] = material.about
                report |= without_model(material, plan, grown, staged, keeps, names, settings, state)
            if "batches" in chosen:
                grouped = sizes if tokens else batches.SIZES
                report |= in_batches(grouped, keeps[0] if keep else batches.KEEP, width, names[0], settings, state)
        if set(NEED_MODEL) & set(chosen):
            wanted = keeps if keep else [64]
            names = _methods(specs, "model", model, state)
            asked = question, batch, split_commas(photos)
            found = with_model(chosen, state, model, names, wanted, asked, dtype, settings, steps)
            report |= {**found, "skipped": {**report.get("skipped", {}), **found["skipped"]}}
    shown = tables(report)
    if json:
        show_json(report)
    else:
        lines = [textwrap.fill(line, 80) for line in head(report).splitlines()]
        out().print("\n".join(lines) + "\n", markup=False, soft_wrap=True)
        for table in shown:
            out().print(table.text() + "\n", markup=False, soft_wrap=True)
    if out_dir is not None:
        _write(report, markdown(report, shown), out_dir)


def _sections(given: Strings, model: str | None) -> list[str]:
    names = split_commas(given)
    for name in names:
        if name not in SECTIONS:
            raise typer.BadParameter(
                f"there is no section '{name}'{did_you_mean(name, SECTIONS)}. Sections: {', '.join(SECTIONS)}",
                param_hint="'SECTION'",
            )
    shown = [name for name in SECTIONS if name not in ON_REQUEST]
    return names or [name for name in shown if model is not None or name not in NEED_MODEL]


def _dtype(name: str) -> torch.dtype:
    import torch

    return getattr(torch, name)  # type: ignore[no-any-return]


def _methods(given: Strings, kind: str, name: str | None, state: State) -> list[str]:
    """The different methods as typed; by default the recipe that a zoo entry recommends, without its budget."""
    texts = split_commas(given)
    if not texts:
        entry = state.zoo(kind, name).item
        if not entry.recipe:
            raise typer.BadParameter(f"'{entry.name}' recommends no recipe; give one", param_hint="'--specs'")
        texts = [entry.recipe.rpartition("@")[0]]
    methods = read_methods(texts, state.registry, keep=1)
    for text in methods.notes:
        note(text)
    return [method.given for method in methods.run]


def _write(report: dict[str, Any], text: str, folder: Path) -> None:
    write_text(folder / "speed.json", json_module.dumps(report, indent=1) + "\n")
    write_text(folder / "speed.md", text)
    drawn = set(SECTIONS) - set(ON_REQUEST)
    if drawn & set(report) and importlib.util.find_spec("matplotlib") is not None:
        from scope_bench.speed.plot import plot

        plot(report, folder / "speed.png")
        done(f"wrote {folder / 'speed.png'}")
