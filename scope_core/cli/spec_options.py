"""A spec's options in words: their types, defaults and descriptions."""

from __future__ import annotations

from typing import Any

import typer

from scope_core.registry.registry import Registry
from scope_core.registry.specs import SLOT_MARK, ComponentSpec, slots_of

_HELP = "A recipe, RECIPE@64, RECIPE@25%, or a spec file."
SPEC = typer.Argument(metavar="SPEC", help=_HELP, show_default=False)
SPEC_OPTION = typer.Option("--spec", metavar="SPEC", help="The same, as other commands take it.", show_default=False)
"""The spec of a command that works on one spec, in both forms; see `scope_core.cli.shell.only_spec`."""
_BOUNDS = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
_LENGTHS = {"string": "characters", "array": "items"}


def options_of(model: type[ComponentSpec], registry: Registry) -> list[dict[str, Any]]:
    """Every option of a spec except its name, in the order of the class.

    Each is a dict of ``name``, ``type``, ``default``, ``required`` and ``description``.
    """
    schema = model.model_json_schema()
    slots = slots_of(model)
    rows = []
    for name, field in model.model_fields.items():
        if name == "name":
            continue
        required, default = field.is_required(), None
        if required and name in slots and not slots[name].many:
            standard = registry.default(slots[name].kind)
            required, default = standard is None, standard.name if standard else None
        elif not required:
            default = schema["properties"][name].get("default")
        rows.append(
            {
                "name": name,
                "type": type_text(schema["properties"][name], schema.get("$defs", {})),
                "default": default,
                "required": required,
                "description": (field.description or "").replace("``", "`"),
            }
        )
    return rows


def type_text(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A piece of JSON Schema in words, e.g. ``"sum | mean | max"`` or ``"number >= 0"``."""
    if SLOT_MARK in schema:
        mark = schema[SLOT_MARK]
        return f"list of {mark['kind']} parts" if mark["many"] else f"{mark['kind']} part"
    if "$ref" in schema:
        return type_text(definitions.get(schema["$ref"].rsplit("/", 1)[-1], {"type": "table"}), definitions)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    for joint in ("anyOf", "oneOf"):
        if joint in schema:
            return " | ".join(dict.fromkeys(type_text(inner, definitions) for inner in schema[joint]))
    if "allOf" in schema:
        return type_text(schema["allOf"][0], definitions)
    return _plain(schema, definitions)


def _plain(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    kind = schema.get("type", "anything")
    word = {"object": "table", "boolean": "true | false", "null": "nothing", "array": "list"}.get(kind, str(kind))
    if kind == "array" and "items" in schema:
        word = f"list of {type_text(schema['items'], definitions)}"
    elif kind == "array" and "prefixItems" in schema:
        word = "(" + ", ".join(type_text(item, definitions) for item in schema["prefixItems"]) + ")"
    bounds = [f"{sign} {schema[key]:g}" if schema[key] < 1e6 else "" for key, sign in _BOUNDS if key in schema]
    return " ".join([word, *filter(None, [" and ".join(filter(None, bounds))])])
