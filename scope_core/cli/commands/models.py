"""``scope models``: models and towers that load by name, and models that can be pruned."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from scope_core.cli.commands.list import origin_of
from scope_core.cli.output import done, loading, note, out, show_json, table
from scope_core.cli.packages import missing_packages
from scope_core.cli.shell import ScopeGroup, examples
from scope_core.cli.state import CACHE_DIR, state_of
from scope_core.errors import ScopeError, UnknownNameError, did_you_mean, listed
from scope_core.registry.entries import ZooEntry
from scope_core.registry.records import Record

app = typer.Typer(cls=ScopeGroup, rich_markup_mode="rich", add_completion=False)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CacheDir = Annotated[Path | None, CACHE_DIR]


@app.callback(
    invoke_without_command=True,
    epilog=examples("scope models", "scope models fetch dinov2-small", "scope models adapters --json"),
)
def models(ctx: typer.Context, cache_dir: CacheDir = None, json: Json = False) -> None:
    """Models and towers that load by name (list, fetch), and models that can be pruned (adapters)."""
    if ctx.invoked_subcommand is None:
        list_models(ctx, cache_dir, json)


@app.command("list", epilog=examples("scope models list", "scope models list --json"))
def list_models(ctx: typer.Context, cache_dir: CacheDir = None, json: Json = False) -> None:
    """List the zoo: towers and models that load by name."""
    records = state_of(ctx, cache_dir=cache_dir).zoo_records()
    if json:
        show_json([facts_of(record) for record in records])
        return
    if not records:
        note("no zoo entries are installed; run `scope doctor`")
        return
    blocks: list[RenderableType] = []
    width = max(len(record.name) for record in records) + len(" *")
    for wanted in dict.fromkeys(record.item.kind for record in sorted(records, key=lambda r: r.item.kind != "tower")):
        blocks.append(Text(f"{wanted}  ", style="bold cyan") + Text(_BELOW, style="italic cyan"))
        for record in records:
            if record.item.kind == wanted:
                blocks += _entry(record, width)
        blocks.append(Text())
    out().print(Group(*blocks, _legend()))


@app.command(epilog=examples("scope models fetch dinov2-small"))
def fetch(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Zoo entries (see `scope models`).")],
    cache_dir: CacheDir = None,
    json: Json = False,
) -> None:
    """Load zoo entries once, so that their weights are in the cache and no network is needed later."""
    state = state_of(ctx, cache_dir=cache_dir)
    known = state.registry.names("zoo")
    for name in names:
        if name not in known:
            raise UnknownNameError(f"the zoo has no '{name}'{did_you_mean(name, known)}. It has: {listed(known)}")
    facts = []
    for name in names:
        entry = state.placed(state.registry.get("zoo", name)).item
        start = time.perf_counter()
        if entry.source:
            with loading(entry, f"fetching {name} ({entry.parameters or 'size unknown'}) from {entry.source}"):
                entry.load()
        seconds = time.perf_counter() - start
        facts.append({"name": name, "source": entry.source, "seconds": seconds})
        if not json:
            done(f"{name} is ready ({seconds:.1f} s)" if entry.source else f"{name}: nothing to fetch")
    if json:
        show_json(facts)


@app.command(epilog=examples("scope models adapters"))
def adapters(ctx: typer.Context, json: Json = False) -> None:
    """List the adapters: models that can be pruned."""
    records = state_of(ctx).registry.records("adapter")
    if json:
        show_json(
            [
                {"name": r.name, "summary": r.item.summary, "from": origin_of(r), "requires": r.item.requires}
                for r in records
            ]
        )
    elif records:
        rows = [(record.name, record.item.summary, origin_of(record)) for record in records]
        out().print(table([("adapter", {"no_wrap": True}), "serves", "from"], rows))
    else:
        note("no adapters are installed; run `scope doctor`")


def facts_of(record: Record) -> dict[str, Any]:
    """A zoo entry as plain data."""
    entry: ZooEntry = record.item
    missing = missing_packages(entry.requires)
    return {
        "name": entry.name,
        "kind": entry.kind,
        "summary": entry.summary,
        "source": entry.source,
        "parameters": entry.parameters,
        "licence": entry.licence,
        "adapter": entry.adapter,
        "recipe": entry.recipe,
        "paper": entry.paper,
        "default": entry.default,
        "from": origin_of(record),
        "missing": missing,
        "cached": None if missing else _cached(entry),
    }


def _cached(entry: ZooEntry) -> bool | None:
    try:
        return entry.is_cached()
    except (ScopeError, OSError):  # e.g. a folder that may not be read
        return None


_BELOW = "below each: weights from; parameters; licence; suggested spec"


def _entry(record: Record, width: int) -> list[RenderableType]:
    """A row with name, summary and state; below it, indented, details of the weights and a suggested spec."""
    facts = facts_of(record)
    name = Text("  " + facts["name"]) + Text(" *" if facts["default"] else "", style="bold green")
    if facts["missing"]:
        state = Text(f"pip install {' '.join(map(repr, facts['missing']))}", style="yellow")
    elif not facts["source"]:
        state = Text("nothing to fetch", style="green")
    elif facts["cached"] is None:
        state = Text("installed")
    else:
        state = Text("in the cache", style="green") if facts["cached"] else Text("to be fetched")
    row = table([("", {"no_wrap": True, "min_width": width + 2}), ""], [], show_header=False, box=None)
    row.add_row(name, Text(facts["summary"] + "; ") + state)
    details = "; ".join(filter(None, (facts[key] for key in ("source", "parameters", "licence", "recipe"))))
    return [row, Padding(Text(details, style="dim"), (0, 0, 0, 6))] if details else [row]


def _legend() -> Text:
    more = "`scope models fetch NAME` downloads ahead of time, `scope show NAME` shows details"
    return Text(f"* default of its kind\n{more}", style="dim")
