"""``scope list``: every part, recipe, adapter, zoo entry and command of a plugin, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from scope_core.cli.output import loading, note, out, show_json, table, warn, working
from scope_core.cli.packages import missing_packages
from scope_core.cli.state import CACHE_DIR, State, state_of
from scope_core.errors import UnknownNameError
from scope_core.registry.kinds import HOME, KINDS, Kind, kind_named
from scope_core.registry.patterns import check_patterns, is_pattern
from scope_core.registry.records import Record

if TYPE_CHECKING:
    from scope_core.pruning.recipe_fit import RecipeFit

NAMES = 24
"""Minimum width of the column of names, so that the blocks of different kinds line up."""


def list_parts(
    ctx: typer.Context,
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="Only this kind, e.g. saliency or recipe.", show_default=False)
    ] = None,
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATTERN", help="Only names that fit a pattern, e.g. 'vis*'.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Leave out names that fit this pattern; may be repeated.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FOLDER",
            help="Mark each recipe: runs on this model of the zoo, or of this folder, runs as a variant, or cannot.",
            show_default=False,
        ),
    ] = None,
    cache_dir: Annotated[Path | None, CACHE_DIR] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is installed: parts, recipes, adapters, models and towers, commands of plugins."""
    state = state_of(ctx, cache_dir=cache_dir)
    registry = state.registry
    if kind is not None and is_pattern(kind):
        raise UnknownNameError(f"'{kind}' is a pattern of names; put the kind first: scope list recipe '{kind}'")
    kinds = KINDS if kind is None else (kind_named(kind),)
    if kind is not None:
        check_patterns(kind, registry.names(kind), [*(patterns or ()), *(exclude or ())])
    records = {
        wanted: [found for found in registry.records(wanted.name) if found.name in names]
        for wanted in kinds
        if (names := registry.names(wanted.name, patterns or "*", exclude=exclude or ()))
    }
    fits = {} if model is None else _fits(state, kind, model)
    if json:
        marks = {name: {"fit": {"runs": fit.runs, **vars(fit)}} for name, fit in fits.items()}
        show_json([describe(r) | marks.get(r.name, {}) for found in records.values() for r in found])
        return
    if records:
        out().print(_table(records, fits))
    empty = [wanted.name for wanted in kinds if wanted not in records]
    if empty:
        note(f"no items are {'left' if exclude else 'installed'} of kind: {', '.join(empty)}")
    for other, name, clash in registry.conflicts():
        warn(f"{other} '{name}' is given by {len(clash)} distributions and not listed; run `scope doctor`")


def _fits(state: State, kind: str | None, name: str) -> dict[str, RecipeFit]:
    """Which recipes run on a model of the zoo, or of a folder, by recipe."""
    if kind != "recipe":
        raise typer.BadParameter("--model marks recipes: scope list recipe --model NAME", param_hint="'--model'")
    from scope_core.pruning.recipe_fit import recipe_fits

    folder = Path(name)
    if folder.is_dir():
        with working(f"reading {folder}"):
            return {fit.recipe: fit for fit in recipe_fits(folder, registry=state.registry)}
    entry = state.zoo("model", name).item
    with loading(entry):
        found = recipe_fits(entry.load().model, adapter=entry.adapter or None, registry=state.registry)
    return {fit.recipe: fit for fit in found}


def _mark(fit: RecipeFit) -> Text:
    """A line of a table: whether a recipe runs."""
    style = "green" if fit.runs else "cyan" if fit.variants else "yellow"
    return Text(str(fit), style=style)


def describe(record: Record) -> dict[str, Any]:
    """A registered item as plain data."""
    return {
        "kind": record.kind.name,
        "name": record.name,
        "summary": record.item.summary,
        "paper": record.item.paper,
        "default": bool(getattr(record.item, "default", False)),
        "missing": missing_packages(record.item.requires),
        "origin": {
            "distribution": record.origin.distribution,
            "version": record.origin.version,
            "entry_point": record.origin.entry_point,
            "module": record.origin.module,
        },
    }


def origin_of(record: Record) -> str:
    """``"distribution version"``, or the file of a plugin that is not packaged."""
    return str(record.origin) if record.origin.version else record.origin.entry_point


def _table(records: dict[Kind, list[Record]], fits: Mapping[str, RecipeFit]) -> RenderableType:
    """A heading and a block of rows per kind; below each summary its paper, and its origin if not scope-core."""
    blocks: list[RenderableType] = []
    homes = set()
    for kind, found in records.items():
        blocks.append(Text(f"{kind.name}  ", style="bold cyan") + Text(kind.about, style="italic cyan"))
        block = table([("", {"no_wrap": True, "min_width": NAMES}), ""], [], show_header=False, box=None)
        for record in found:
            mark = " *" if getattr(record.item, "default", False) else ""
            home = record.origin.distribution == HOME
            homes |= {origin_of(record)} if home else set()
            below = filter(None, [record.item.paper, "" if home else f"from {origin_of(record)}"])
            lines = [Text(record.item.summary), *([Text(text, style="dim")] if (text := ";  ".join(below)) else [])]
            if missing := missing_packages(record.item.requires):
                lines.append(Text(f"cannot be used yet: pip install {' '.join(missing)}", style="yellow"))
            lines += [_mark(fits[record.name])] if record.name in fits else []
            block.add_row(Text("  " + record.name) + Text(mark, style="bold green"), Group(*lines))
        blocks += [block, Text()]
    legend = "* default of its kind    `scope show NAME` shows details"
    legend += f"\nfrom {', '.join(homes)} unless noted" if homes else ""
    return Group(*blocks, Text(legend, style="dim"))
