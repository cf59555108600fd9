"""JSON Schema of spec files for the parts in a registry; gives completion and checks in YAML editors."""

from __future__ import annotations

from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from scope_core.pruning.spec import PrunerSpec
from scope_core.registry.kinds import kind_named
from scope_core.registry.lookup import PartLookup
from scope_core.registry.option_types import PERCENT
from scope_core.registry.records import Record
from scope_core.registry.specs import SLOT_MARK, shorthand_of


def json_schema(registry: PartLookup) -> dict[str, Any]:
    """The schema of `PrunerSpec`, every slot filled in with the parts in ``registry``.

    As in spec files, the options of the default selector are allowed at the top level too.
    """
    definitions: dict[str, Any] = {}
    raw = PrunerSpec.model_json_schema()
    body = {**raw["$defs"].pop("PrunerSpec"), "$defs": raw["$defs"]}  # later stages refer back to the schema itself
    body["properties"]["then"]["items"] = {"anyOf": [{"$ref": "#"}, {"type": "string"}]}
    schema = _resolved(body, definitions, "")
    for kind in registry.kinds():
        if registry.names(kind) and kind_named(kind).base:
            definitions[kind] = _choice(kind, registry, definitions)
    selector = registry.default("selector")
    if selector is not None:
        for name, field in definitions[f"selector.{selector.name}"]["properties"].items():
            if name != "name":
                schema["properties"].setdefault(name, dict(field))
    for name, field in schema["properties"].items():
        if "$ref" in field:  # with a recipe, a table without a name changes single options of the recipe's part
            whole = {"$ref": field.pop("$ref")}
            kind = whole["$ref"].rsplit("/", 1)[1]
            schema["properties"][name] = {**field, "anyOf": [whole, _changes(kind, registry, definitions)]}
    recipe = schema["properties"]["recipe"]
    schema["properties"]["recipe"] = {"enum": registry.names("recipe"), "description": recipe["description"]}
    schema.pop("required", None)  # a recipe and the defaults fill in what is left out
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "scope-core pruner spec",
        "$defs": dict(sorted(definitions.items())),
    }


def _choice(kind: str, registry: PartLookup, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a slot of ``kind``: a name, a bare number, or a table with options."""
    short: list[dict[str, Any]] = [{"enum": registry.names(kind), "title": f"name of a {kind}"}]
    tables = []
    for record in registry.records(kind):
        shorthand = shorthand_of(record.spec)
        if shorthand is not None:
            number = "integer" if shorthand[0] is int else "number"
            short.append({"type": number, "title": f"short for {record.name}"})
            if shorthand[0] is float:
                short.append({"type": "string", "pattern": f"^{PERCENT.pattern}$", "title": "a percentage"})
        table = _table(record, definitions)
        table["required"] = ["name"]  # slots that are left out get their kind's default
        table["required"] += [f for f, i in record.spec.model_fields.items() if i.is_required() and f in _plain(table)]
        definitions[f"{kind}.{record.name}"] = {**table, "title": record.item.summary}
        tables.append({"$ref": f"#/$defs/{kind}.{record.name}"})
    return {"anyOf": [*short, *tables]}


def _table(record: Record, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one part's spec; if its types have no JSON Schema, that of any table with the part's name."""
    try:
        schema = record.spec.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {"type": "object", "properties": {"name": {"const": record.name}}}
    table: dict[str, Any] = _resolved(schema, definitions, f"{record.kind.name}.{record.name}.")
    return {"properties": {}, **table}


def _plain(table: dict[str, Any]) -> list[str]:
    """Fields of a table other than slots and the name."""
    return [name for name, field in table["properties"].items() if "$ref" not in field and name != "name"]


def _changes(kind: str, registry: PartLookup, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a table without a name: each option may hold what it may hold in any part of ``kind``."""
    options: dict[str, list[Any]] = {}
    for record in registry.records(kind):
        for option, field in definitions[f"{kind}.{record.name}"]["properties"].items():
            if option != "name" and field not in options.setdefault(option, []):
                options[option].append(field)
    return {
        "type": "object",
        "properties": {option: {"anyOf": fields} for option, fields in sorted(options.items())},
        "additionalProperties": False,
        "not": {"required": ["name"]},
        "title": f"changes to the recipe's {kind}",
    }


def _resolved(node: Any, definitions: dict[str, Any], owner: str) -> Any:
    """``node`` with slot marks replaced by references.

    Nested definitions move to ``definitions`` under ``owner`` + their name, since two plugins may both define e.g. a
    ``Mode``.
    """
    if isinstance(node, list):
        return [_resolved(item, definitions, owner) for item in node]
    if not isinstance(node, dict):
        return node
    for name, nested in node.get("$defs", {}).items():
        definitions[f"{owner}{name}"] = _resolved(nested, definitions, owner)
    fields = {key: value for key, value in node.items() if key not in ("$defs", SLOT_MARK)}
    resolved = {key: _resolved(value, definitions, owner) for key, value in fields.items()}
    if isinstance(resolved.get("$ref"), str):
        resolved["$ref"] = resolved["$ref"].replace("#/$defs/", f"#/$defs/{owner}")
    if SLOT_MARK in node:
        mark = node[SLOT_MARK]
        reference: dict[str, Any] = {"$ref": f"#/$defs/{mark['kind']}"}
        if mark["many"]:
            reference = {"type": "array", "items": reference}
        elif mark["optional"]:
            reference = {"anyOf": [reference, {"type": "null"}]}
        resolved.update(reference)
    return resolved
