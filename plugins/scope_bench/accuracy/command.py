"""``scope bench accuracy``: options, and the order of steps."""

from __future__ import annotations

import importlib.util
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scope_bench.accuracy.budgets import budgets
from scope_core import TaskError
from scope_core.cli.methods import CONTROLS, HELP
from scope_core.commands import (
    State,
    done,
    listed,
    loading,
    make_folder,
    note,
    out,
    progress,
    show_json,
    split_commas,
    state_of,
    warn,
    working,
    write_text,
)

if TYPE_CHECKING:
    from scope_bench.accuracy.report import Results
    from scope_core.tasks import Task

EXAMPLES = (
    "scope bench accuracy --quick",
    "scope bench accuracy --specs scope,peak.yaml,random,uniform_grid --keep 64,16 --out report",
    "scope bench accuracy --specs scope,fastv,controls --keep own,25%",
    "scope bench accuracy --model llava-1.5-7b "
    "--task '{name: pope, questions: coco_pope_random.json, images: val2014}'",
)
KEEPS = (192, 128, 64, 32, 16)
QUICK_KEEPS, QUICK_LIMIT = (64, 16), 60


def accuracy(
    ctx: typer.Context,
    specs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC,...",
            help=f"Methods: {HELP}. Their budgets are replaced by --keep, unless it is 'own'.",
            show_default="the model's recipe and all controls",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="A zoo model.", show_default="see `scope models`")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="A task, a YAML file with its name and options, or '{name: ..., option: ...}'.",
            show_default="see `scope list task`",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="K,...",
            help="Budgets: tokens to keep of each image, shares such as 25%, and 'own' for that of each spec.",
            show_default="192,128,64,32,16",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Split of the task.", show_default="the task's first")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Largest number of images.", show_default="all of the split")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help=f"At most {QUICK_LIMIT} images, and {len(QUICK_KEEPS)} budgets.")
    ] = False,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the task and of the intervals.")] = 0,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="Largest number of prompts per model call.")] = 64,
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for results.json, table.md and plot.png.", show_default=False
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of weights, and of kept features and replies.",
            show_default="the user's cache",
        ),
    ] = None,
    cache: Annotated[bool, typer.Option("--cache/--no-cache", help="Keep features and replies on disk.")] = True,
    resume: Annotated[
        bool,
        typer.Option("--resume/--fresh", help="Use replies of earlier runs if nothing they depend on has changed."),
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure the accuracy of methods on a task at several budgets, with controls, bounds and intervals."""
    make_folder(out_dir, "plot.png")
    keeps = budgets(split_commas(keep), QUICK_KEEPS if quick else KEEPS)
    state = state_of(ctx)
    chosen = _task(task, state)
    entry = state.zoo("model", model).item
    texts = split_commas(specs) or [*([entry.recipe.partition("@")[0]] if entry.recipe else []), CONTROLS]
    with working("reading specs"):
        from scope_bench.accuracy.methods import methods_of, runnable

        methods = methods_of(texts, keeps, state.registry)
    with loading(entry):
        from scope_bench.accuracy.cache import default_folder
        from scope_bench.accuracy.report import results_of
        from scope_bench.accuracy.runner import Settings, bounds, run, scenes_of

        loaded = entry.load(**({"cache_dir": cache_dir} if cache_dir is not None and entry.takes("cache_dir") else {}))
        methods, unfit = runnable(methods, loaded.model)
        settings = Settings(
            split or chosen.splits[0],
            limit=min(limit or QUICK_LIMIT, QUICK_LIMIT) if quick else limit,
            seed=seed,
            batch=batch,
            folder=(cache_dir or default_folder()) if cache else None,
            fresh=not resume,
        )
        scenes = scenes_of(loaded, chosen, settings)
        methods += bounds(scenes, keeps, state.registry)
    if loaded.notes:
        warn(f"{entry.name}: {loaded.notes}")
    if not any(method.role == "control" for method in methods):
        note(f"no control takes part; add '{CONTROLS}' to --specs to make the comparison meaningful")
    with progress(f"{len(scenes)} images x {len(methods)} methods", log=True) as tell:
        found = run(loaded, chosen, methods, scenes, settings, state.registry, tell)
    found.skipped[:0] = unfit
    for one in found.skipped:
        warn(f"{one.method.label} is not measured: {one.why}")
    results = results_of(found)
    if json:
        show_json(results)
    else:
        _print(results)
    if out_dir is not None:
        _write(results, out_dir)


def _task(text: str | None, state: State) -> Task[Any]:
    """The named task, or the default one.

    Raises:
        TaskError: no task is named, and there is no default.
        SpecError: its name or options are wrong.
    """
    from scope_bench.accuracy.task_choice import read_task

    if text is None:
        default = state.registry.default("task")
        if default is None:
            raise TaskError(f"give a task with --task. Installed: {listed(state.registry.names('task'))}")
        text = default.name
    return read_task(text, state.registry)


def _print(results: Results) -> None:
    from scope_bench.accuracy.tables import skipped, tables

    keeps = results["budgets"]
    shown = tables(results, details=[64 if 64 in keeps else keeps[len(keeps) // 2]])
    for table in shown:
        out().print(table.text() + "\n", markup=False, soft_wrap=True)
    if missing := skipped(results):
        out().print(missing + "\n", markup=False, soft_wrap=True)
    for keep in keeps:
        ranking = " > ".join(" = ".join(tier) for tier in results["ranking"][str(keep)])
        out().print(f"at {keep}: {ranking}", markup=False)
    out().print("(=: not separated from the first of the group)", markup=False)


def _write(results: Results, folder: Path) -> None:
    from scope_bench.accuracy.plot import plot
    from scope_bench.accuracy.tables import skipped, tables

    write_text(folder / "results.json", json_module.dumps(results, indent=1, allow_nan=False) + "\n")
    parts = [*(table.markdown() for table in tables(results)), skipped(results)]
    write_text(folder / "table.md", "\n\n".join(filter(None, parts)) + "\n")
    if importlib.util.find_spec("matplotlib") is not None:
        plot(results, folder / "plot.png")
        done(f"wrote {folder / 'plot.png'}")
