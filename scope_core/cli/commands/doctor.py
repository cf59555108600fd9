"""``scope doctor``: installed packages and plugins, problems, and their fixes."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.advice import install
from scope_core.cli.commands.list import origin_of
from scope_core.cli.output import out, progress, show_json, table, working
from scope_core.cli.package_rows import judge, package_rows
from scope_core.cli.packages import missing_packages
from scope_core.cli.self_checks import run_checks
from scope_core.cli.shell import Code
from scope_core.cli.state import State, state_of
from scope_core.errors import MissingDependencyError, PluginError, ScopeError
from scope_core.pruning.spec_reader import read_spec
from scope_core.registry.discovery import GROUP
from scope_core.registry.kinds import HOME
from scope_core.registry.records import Record
from scope_core.registry.registry import Registry


def doctor(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Only look at what is installed; prune nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what is installed, and prune a tiny model in each way. Exit code 1 if anything is broken."""
    with working("examining"):
        facts = examine(state_of(ctx))
    registry = facts.pop("registry")
    with progress("trying") as tell:
        facts["checks"] = run_checks(registry, quick=quick, progress=tell)
    for row in facts["checks"]:
        if row["state"] == "failed":
            facts["problems"].append({"what": f"{row['about']}: {row['text']}", "fix": row["fix"]})
    facts["ok"] = not facts["problems"]
    if json:
        show_json(facts)
    else:
        _print(facts)
    if facts["problems"]:
        raise typer.Exit(Code.CHECK)


def examine(state: State) -> dict[str, Any]:
    """All facts, as plain data except for the registry; ``problems`` is empty if nothing is broken."""
    state.quiet_plugins = True
    problems: list[dict[str, str]] = []
    notes: list[str] = []
    packages = package_rows()
    judge(packages, problems, notes)
    try:
        registry = state.registry
    except PluginError as error:  # strict mode, or a plugin file of the command line
        registry = Registry()
        problems.append(
            {"what": str(error), "fix": "fix or uninstall that plugin, or disable it with SCOPE_DISABLE_PLUGINS"}
        )
    for failure in registry.failures:
        owner = failure.origin.distribution
        first = failure.fix or f"pip install --upgrade {owner}"
        fix = f"{first}, or uninstall it, or set SCOPE_DISABLE_PLUGINS={owner}"
        problems.append({"what": str(failure), "fix": fix})
    for kind, name, clash in registry.conflicts():
        owners = sorted({record.origin.distribution for record in clash})
        problems.append(
            {
                "what": f"{kind} '{name}' is given by {' and by '.join(str(record.origin) for record in clash)}",
                "fix": f"uninstall one of them, or set SCOPE_DISABLE_PLUGINS={owners[-1]}",
            }
        )
    if not any(registry.names(kind) for kind in registry.kinds()):
        problems.append({"what": "no parts are installed at all", "fix": f"pip install {HOME} (or pip install -e .)"})
    waiting: dict[str, list[str]] = {}
    for record in (record for kind in registry.kinds() for record in registry.records(kind)):
        _check(record, registry, problems, notes, waiting)
    for package, names in waiting.items():
        notes.append(f"to use {', '.join(names)}: {install(package)}")
    return {
        "registry": registry,
        "ok": not problems,
        "problems": problems,
        "packages": packages,
        "plugins": _plugins(registry),
        "disabled": list(registry.disabled),
        "recipes_checked": len(registry.records("recipe")),
        "notes": list(dict.fromkeys(notes)),
    }


def _check(
    record: Record,
    registry: Registry,
    problems: list[dict[str, str]],
    notes: list[str],
    waiting: dict[str, list[str]],
) -> None:
    """Import a part, read a recipe, or look for the packages of a zoo entry.

    Args:
        record: The item.
        registry: Its registry.
        problems: List to which problems are added.
        notes: List to which items that need an extra are added.
        waiting: ``{missing package: zoo entries of scope-core that need it}``, added to.
    """
    what = f"{record.kind.name} '{record.name}' ({origin_of(record)})"
    try:
        if record.kind.name == "recipe":
            registry.build_slots(read_spec({"recipe": record.name}, registry))
        elif record.kind.name == "zoo":
            missing = missing_packages(record.item.requires)
            if missing and record.origin.distribution == HOME:
                for package in missing:
                    waiting.setdefault(package, []).append(record.name)
            elif missing:
                raise MissingDependencyError(f"needs: pip install '{' '.join(missing)}'")
        elif record.kind.name in ("command", "check"):
            record.item.load(what)
        else:
            _ = record.target
    except MissingDependencyError as error:
        if record.origin.distribution == HOME:  # an extra that is not installed
            notes.append(f"{what} cannot be used yet: {error}")
        else:
            fix = (
                f"pip install {' '.join(record.item.requires)}"
                if record.item.requires
                else "install the packages that it imports"
            )
            problems.append({"what": f"{what} cannot be used: {error}", "fix": fix})
    except ScopeError as error:
        problems.append(
            {"what": f"{what}: {error}", "fix": f"report it to the authors of {record.origin.distribution}"}
        )


def _plugins(registry: Registry) -> list[dict[str, Any]]:
    """One row per entry point, with the number of its items by kind."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    clashing = [record for _, _, clash in registry.conflicts() for record in clash]
    for record in [*clashing, *(record for kind in registry.kinds() for record in registry.records(kind))]:
        counts.setdefault((str(record.origin), record.origin.entry_point), Counter())[record.kind.name] += 1
    failed = {(str(f.origin), f.origin.entry_point): f for f in registry.failures}
    every = {**{key: Counter[str]() for key in _declared()}, **counts}
    disabled = {entry.partition(" (")[0] for entry in registry.disabled}
    return [
        {
            "from": origin,
            "entry_point": point,
            "gives": dict(given),
            "state": "failed"
            if (origin, point) in failed
            else "disabled"
            if point in disabled and not given
            else "loaded",
        }
        for (origin, point), given in sorted(every.items(), key=lambda item: (not item[0][0].startswith(HOME), item[0]))
    ]


def _declared() -> list[tuple[str, str]]:
    """All entry points of the group, loaded or not."""
    points = [point for point in entry_points(group=GROUP) if point.dist is not None]
    return [(f"{point.dist.name} {point.dist.version}", point.name) for point in points if point.dist is not None]


def _print(facts: dict[str, Any]) -> None:
    colours = {
        "ok": "green",
        "loaded": "green",
        "missing": "yellow",
        "disabled": "yellow",
        "too old": "red",
        "failed": "red",
        "note": "yellow",
        "left out": "yellow",
    }

    def state(text: str) -> Text:
        return Text(text, style=colours[text])

    packages = [
        (row["package"], row["version"] or "-", ", ".join(row["for"]), state(row["state"]), row["fix"])
        for row in facts["packages"]
    ]
    plugins = [
        (
            row["from"],
            row["entry_point"],
            ", ".join(f"{n} {kind}" for kind, n in row["gives"].items()) or "-",
            state(row["state"]),
        )
        for row in facts["plugins"]
    ]
    blocks: list[Any] = [
        Text("packages", style="bold cyan"),
        table(["package", "version", "for", "state", "to get it"], packages),
        Text("plugins", style="bold cyan"),
        table(["from", "entry point", "gives", "state"], plugins),
    ]
    if facts["checks"]:
        tried = [(row["about"], state(row["state"]), row["text"], row["fix"]) for row in facts["checks"]]
        blocks += [Text("tried", style="bold cyan"), table(["what", "state", "seen", "to do"], tried)]
    if facts["disabled"]:
        blocks.append(Text(f"disabled by SCOPE_DISABLE_PLUGINS: {', '.join(facts['disabled'])}", style="yellow"))
    blocks += [Text(f"note: {text}", style="yellow") for text in facts["notes"]]
    for problem in facts["problems"]:
        blocks.append(Text("problem: ", style="bold red") + Text(problem["what"], style="red"))
        blocks.append(Text("    fix: ", style="bold") + Text(problem["fix"]))
    if facts["ok"]:
        blocks.append(Text(f"No problems; {facts['recipes_checked']} recipes checked.", style="bold green"))
    out().print(Group(*blocks), soft_wrap=False)
