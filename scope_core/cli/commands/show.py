"""``scope show NAME``: details of one part, recipe, adapter or zoo entry."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from scope_core.cli.commands.list import describe, origin_of
from scope_core.cli.commands.spec import about_of
from scope_core.cli.output import out, show_json, table
from scope_core.cli.spec_options import options_of
from scope_core.cli.state import state_of
from scope_core.errors import ScopeError, UnknownNameError, did_you_mean
from scope_core.parts.base import Part, parts_in
from scope_core.pruning.spec_reader import read_spec
from scope_core.registry.records import Record
from scope_core.registry.registry import Registry
from scope_core.registry.specs import Spec, slots_of


def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name, or KIND:NAME if several kinds have it.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show one part, recipe, adapter or zoo entry: options, paper, signals, source file, recipes that use it."""
    registry = state_of(ctx).registry
    facts = facts_of(find(name, registry), registry)
    if json:
        show_json(facts)
    else:
        _print(facts)


def find(name: str, registry: Registry) -> Record:
    """The record named ``NAME`` or ``KIND:NAME``.

    Raises:
        UnknownNameError: nothing has this name; suggests the nearest.
        typer.BadParameter: several kinds have it.
    """
    kind, colon, bare = name.partition(":")
    if colon:
        return registry.get(kind, bare)
    kinds = [kind for kind in registry.kinds() if registry.has(kind, name)]
    if len(kinds) > 1:
        choices = " or ".join(f"`scope show {kind}:{name}`" for kind in kinds)
        raise typer.BadParameter(
            f"'{name}' is the name of a {' and of a '.join(kinds)}; use {choices}", param_hint="'NAME'"
        )
    if kinds:
        return registry.get(kinds[0], name)
    known = [known for kind in registry.kinds() for known in registry.names(kind)]
    broken = "".join(f". Perhaps it belongs to a broken plugin: {failure}" for failure in registry.failures)
    raise UnknownNameError(
        f"nothing is called '{name}'{did_you_mean(name, known)}. `scope list` shows all names{broken}"
    )


def facts_of(record: Record, registry: Registry) -> dict[str, Any]:
    """All details of ``record``, as plain data."""
    facts = describe(record)
    facts["from"] = origin_of(record)
    if record.kind.name == "recipe":
        return {**facts, **_recipe_facts(record, registry)}
    if record.kind.name == "zoo":
        item = record.item
        keys = ("source", "licence", "parameters", "recipe", "adapter", "requires")
        return {**facts, "type": item.kind, **{key: getattr(item, key) for key in keys}, "loader": item.target}
    if record.kind.name in ("command", "check"):
        item = record.item
        examples = {"examples": list(item.examples)} if record.kind.name == "command" else {}
        return {**facts, "requires": item.requires, "loader": item.target, **examples}
    target = record.target
    return {
        **facts,
        "class": f"{target.__module__}:{target.__qualname__}",
        "file": inspect.getsourcefile(target) or "",
        "about": _reflowed(target.__doc__ or record.spec.__doc__ or ""),
        "options": options_of(record.spec, registry),
        "needs": _needs(record, registry),
        "recipes": [recipe.name for recipe in registry.records("recipe") if _uses(recipe, record, registry)],
    }


def _recipe_facts(record: Record, registry: Registry) -> dict[str, Any]:
    item = record.item
    facts: dict[str, Any] = {"about": about_of(item, registry), "formula": item.formula, "code": item.code}
    try:
        spec = read_spec({"recipe": record.name}, registry)
        parts = parts_in(registry.build_slots(spec))
    except ScopeError as error:
        return {**facts, "parts": dict(item.spec), "error": str(error)}
    return {
        **facts,
        "parts": spec.to_dict(registry),
        "needs": sorted({need for part in parts for need in part.all_needs}),
    }


def _needs(record: Record, registry: Registry) -> list[str] | None:
    """Signals that it reads with default options; None if it has options without a default."""
    if getattr(record.target, "needs", None) is Part.needs:
        return []
    try:
        return sorted(registry.build_named(record.kind.name, record.name).needs)
    except (ScopeError, ValueError):
        return None


def _uses(recipe: Record, part: Record, registry: Registry) -> bool:
    try:
        spec = read_spec({"recipe": recipe.name}, registry)
    except ScopeError:
        return False
    return (part.kind.name, part.name) in set(_names(spec))


def _names(spec: Spec) -> list[tuple[str, str]]:
    """``(kind, name)`` of every part inside ``spec``."""
    found = []
    for field, slot in slots_of(type(spec)).items():
        value = getattr(spec, field)
        for inner in value if isinstance(value, tuple) else (value,):
            if inner is not None:
                found += [(slot.kind, inner.name), *_names(inner)]
    return found


def _reflowed(text: str) -> str:
    """A docstring with one line per paragraph; paragraphs with indented lines do not change."""
    paragraphs = inspect.cleandoc(text).replace("``", "`").split("\n\n")
    return "\n\n".join(p if "\n " in p else p.replace("\n", " ") for p in paragraphs)


def _print(facts: dict[str, Any]) -> None:
    head = Text(facts["name"], style="bold cyan") + Text(f"  {facts['kind']}", style="cyan")
    blocks: list[Any] = [head, Text(facts["summary"])]
    if facts.get("about"):
        blocks += [Text(), Text(facts["about"], style="italic")]
    if facts.get("formula"):
        blocks += [Text(), Text(facts["formula"])]
    blocks.append(Text())
    rows = [(label, _plain(facts.get(key))) for label, key in _LINES if facts.get(key)]
    if facts["default"]:
        rows.append(("default", "yes"))
    if "needs" in facts and facts["needs"] != []:
        none = "depends on its options" if facts["needs"] is None else "none"
        rows.append(("needs", ", ".join(facts["needs"] or ()) or none))
    if "recipes" in facts:
        rows.append(("used by", ", ".join(facts["recipes"]) or "no recipe"))
    blocks.append(table([("", {"style": "bold"}), ""], rows, show_header=False, box=None))
    if facts.get("options"):
        shown = [
            (o["name"], o["type"], "required" if o["required"] else _plain(o["default"]), o["description"])
            for o in facts["options"]
        ]
        blocks.append(table([("option", {"no_wrap": True}), "type", "default", "meaning"], shown))
    elif "options" in facts:
        blocks.append(Text("\nNo options.", style="dim"))
    if "parts" in facts:
        blocks.append(table(["slot", "part"], [(key, _plain(value)) for key, value in facts["parts"].items()]))
    if facts.get("error"):
        blocks.append(Text(f"This recipe does not validate: {facts['error']}", style="red"))
    if facts["kind"] == "recipe":
        blocks.append(Text(f"`scope explain {facts['name']}` prints it as a spec file.", style="dim"))
    if facts["kind"] == "command":
        blocks.append(Text(f"`scope {facts['name']} --help` prints its options.", style="dim"))
    out().print(Group(*blocks))


_LINES = (
    ("paper", "paper"), ("authors' code", "code"), ("from", "from"), ("class", "class"), ("file", "file"),
    ("type", "type"), ("source", "source"), ("parameters", "parameters"), ("licence", "licence"),
    ("adapter", "adapter"), ("recipe", "recipe"), ("packages", "requires"), ("loader", "loader"),
)  # fmt: skip


def _plain(value: Any) -> str:
    """A value as in a spec file, e.g. ``{name: product, alpha: 1.0}``."""
    import yaml

    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("\n").removesuffix("...").strip()
