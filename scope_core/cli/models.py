"""``scope models``: what can be loaded by name, and which models can be pruned."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from scope_core.cli.listing import origin_of
from scope_core.cli.output import done, note, out, show_json, table, working
from scope_core.cli.packages import missing_packages
from scope_core.cli.shell import ScopeGroup, examples
from scope_core.cli.state import state_of
from scope_core.entries import ZooEntry
from scope_core.errors import ScopeError, UnknownNameError, did_you_mean, listed
from scope_core.registry import Record

app = typer.Typer(cls=ScopeGroup, rich_markup_mode="rich", add_completion=False)
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(
    invoke_without_command=True,
    epilog=examples("scope models", "scope models fetch dinov2-small", "scope models adapters --json"),
)
def models(ctx: typer.Context, json: Json = False) -> None:
    """What can be loaded by name (list, fetch), and which models can be pruned (adapters)."""
    if ctx.invoked_subcommand is None:
        list_models(ctx, json)


@app.command("list", epilog=examples("scope models list", "scope models list --json"))
def list_models(ctx: typer.Context, json: Json = False) -> None:
    """List the zoo: towers and models that load by name."""
    records = state_of(ctx).registry.records("zoo")
    if json:
        show_json([facts_of(record) for record in records])
        return
    if not records:
        note("no zoo entries are installed; `scope doctor` says why")
        return
    rows = []
    for wanted in dict.fromkeys(record.item.kind for record in sorted(records, key=lambda r: r.item.kind != "tower")):
        rows += [_row(record) for record in records if record.item.kind == wanted]
    out().print(Group(table([("name", {"no_wrap": True}), "what", "state"], rows, show_lines=True), _legend()))


@app.command(epilog=examples("scope models fetch dinov2-small"))
def fetch(
    ctx: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Zoo entries (see `scope models`).")],
    json: Json = False,
) -> None:
    """Load zoo entries once, so that their weights are in the cache; later no network is needed."""
    registry = state_of(ctx).registry
    known = registry.names("zoo")
    for name in names:
        if name not in known:
            raise UnknownNameError(f"the zoo has no '{name}'{did_you_mean(name, known)}. It has: {listed(known)}")
    facts = []
    for name in names:
        entry = registry.get("zoo", name).item
        start = time.perf_counter()
        with working(f"fetching {name} ({entry.parameters or 'size unknown'}) from {entry.source}"):
            entry.load()
        seconds = time.perf_counter() - start
        facts.append({"name": name, "source": entry.source, "seconds": seconds})
        if not json:
            done(f"{name} is ready ({seconds:.1f} s)")
    if json:
        show_json(facts)


@app.command(epilog=examples("scope models adapters"))
def adapters(ctx: typer.Context, json: Json = False) -> None:
    """List the adapters: which models' tokens can be intercepted."""
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
        note("no adapters are installed; `scope doctor` says why")


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
    except ScopeError:
        return None


def _row(record: Record) -> tuple[RenderableType, RenderableType, RenderableType]:
    facts = facts_of(record)
    name = Text(facts["name"], style="bold") + Text(" *" if facts["default"] else "", style="bold green")
    name += Text(f"\n{facts['kind']}", style="cyan")
    details = [facts["source"], facts["parameters"], facts["licence"]]
    served = [
        f"adapter {facts['adapter']}" if facts["adapter"] else "",
        f"try {facts['recipe']}" if facts["recipe"] else "",
    ]
    what = Text(facts["summary"])
    for line in (details, served):
        if any(line):
            what += Text("\n" + "  ".join(filter(None, line)), style="dim")
    if facts["missing"]:
        state = Text(f"needs pip install '{' '.join(facts['missing'])}'", style="yellow")
    elif facts["cached"] is None:
        state = Text("installed")
    else:
        state = Text("in the cache", style="green") if facts["cached"] else Text("to be fetched")
    return name, what, state


def _legend() -> Text:
    return Text("* used where no other is named   `scope models fetch NAME` downloads one ahead of time", style="dim")
