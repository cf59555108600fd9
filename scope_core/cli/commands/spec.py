"""``scope explain``, ``scope schema`` and ``scope validate``: specs as files."""

from __future__ import annotations

import json as json_module
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from scope_core.cli.output import check_out, out, show_json, write_text
from scope_core.cli.shell import Code, only_spec
from scope_core.cli.spec_options import SPEC, SPEC_OPTION
from scope_core.cli.state import state_of
from scope_core.errors import SpecError
from scope_core.parts.base import parts_in
from scope_core.pruning.labels import changes, label_of
from scope_core.pruning.spec import PrunerSpec, written
from scope_core.pruning.spec_reader import read_spec
from scope_core.registry.entries import Recipe
from scope_core.registry.registry import Registry
from scope_core.registry.specs import slots_of
from scope_core.version import __version__


def explain(
    ctx: typer.Context,
    given: Annotated[str | None, SPEC] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file.", show_default=False)
    ] = None,
    spec: Annotated[str | None, SPEC_OPTION] = None,
) -> None:
    """Print a spec's long form, with every part and every option, to save and edit."""
    wanted = only_spec(given, spec)
    check_out(out_file)
    registry = state_of(ctx).registry
    read = read_spec(wanted, registry)
    text = json_module.dumps(read.to_dict(registry), indent=2) + "\n" if json else commented(read, wanted, registry)
    if out_file is None:
        typer.echo(text, nl=False)
    else:
        write_text(out_file, text)


def commented(spec: PrunerSpec, given: str, registry: Registry) -> str:
    """The long form as YAML, with an explaining comment above every line."""
    label, changed = label_of(spec, registry), changes(spec, registry)
    heads = [f"{label}, the long form of `{given}`"]
    if spec.recipe is not None:
        recipe = registry.get("recipe", spec.recipe).item
        heads = [f"{label}: {recipe.summary}", *filter(None, [about_of(recipe, registry), recipe.paper])]
    if changed:
        heads[0] = f"{label}: the recipe {spec.recipe}, changed: {', '.join(changed)}"
        heads[1:] = [f"{spec.recipe}: {recipe.summary}", *heads[1:]]
    heads.append(f"scope-core {__version__}; printed by `scope explain {given}`")
    heads += [
        f"at {stage.at}, needs {', '.join(_needs(stage, registry)) or 'no signals'}" for stage in (spec, *spec.then)
    ]
    lines = [_comment(line) for text in heads for line in textwrap.wrap(" ".join(text.split()), 118) or [""]]
    about = _summaries(spec, registry)
    for line in spec.to_yaml(registry).splitlines():
        key = line.partition(":")[0]
        lines += ["", *([_comment(about[key])] if about.get(key) else [])]
        if key in changed:
            was = "not in the recipe" if changed[key] is None else f"the recipe has {written(changed[key])}"
            lines.append(_comment(f"changed; {was}"))
        lines.append(line)
    return "\n".join(lines) + "\n"


def about_of(recipe: Recipe, registry: Registry) -> str:
    """The two sentences about a recipe; a variant that has none has those of its method."""
    base = recipe.name.partition("@")[0]
    if recipe.about or not registry.has("recipe", base):
        return recipe.about
    found: str = registry.get("recipe", base).item.about
    return found


def _needs(spec: PrunerSpec, registry: Registry) -> list[str]:
    """Signals that the parts of one stage read."""
    return sorted({name for part in parts_in(registry.build_slots(spec)) for name in part.all_needs})


def _comment(text: str) -> str:
    """One line of YAML comment; line breaks in ``text`` become spaces."""
    return "# " + " ".join(text.split())


def _summaries(spec: PrunerSpec, registry: Registry) -> dict[str, str]:
    """One line about each key of the long form."""
    described = {**type(spec.selector).model_fields, **PrunerSpec.model_fields}
    fields = {name: " ".join((field.description or "").split()) for name, field in described.items()}
    found = {name: text.partition(". ")[0].rstrip(".") for name, text in fields.items() if text}
    for owner in (spec, spec.selector):
        for field, slot in slots_of(type(owner)).items():
            value = getattr(owner, field)
            if value is not None and not slot.many:
                summary = registry.get(slot.kind, value.name).item.summary
                found[field] = f"{slot.kind}: {summary}" if slot.kind == field else f"{field}: {summary}"
    return {key: text.replace("``", "`") for key, text in found.items()}


def schema(
    ctx: typer.Context,
    out_file: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="No effect: a schema is always JSON.", hidden=True)] = False,
) -> None:
    """Print the JSON Schema of spec files with all installed parts, for completion and checks in editors."""
    from scope_core.pruning.spec_schema import json_schema

    check_out(out_file)
    text = json_module.dumps(json_schema(state_of(ctx).registry), indent=2) + "\n"
    if out_file is None:
        typer.echo(text, nl=False)
    else:
        write_text(out_file, text)


def validate(
    ctx: typer.Context,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE", help="Spec files (YAML or JSON); short specs such as RECIPE@64 too.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check spec files; list every mistake with its place. Exit code 1 if any file is wrong."""
    registry = state_of(ctx).registry
    results = [_checked(file, registry) for file in files]
    if json:
        show_json(results)
    else:
        for result in results:
            if result["ok"]:
                out().print(
                    Text("ok     ", style="bold green") + Text(f"{result['file']}  ({result['label']})"), soft_wrap=True
                )
            else:
                out().print(Text("wrong  ", style="bold red") + Text(result["error"]), soft_wrap=True)
    if not all(result["ok"] for result in results):
        raise typer.Exit(Code.CHECK)


def _checked(file: str, registry: Registry) -> dict[str, Any]:
    path = Path(file)
    try:
        spec = read_spec(path if path.is_file() or path.name != file else file, registry)
        registry.build_slots(spec)
    except SpecError as error:
        return {"file": file, "ok": False, "label": None, "error": str(error)}
    return {"file": file, "ok": True, "label": label_of(spec, registry), "error": None}
