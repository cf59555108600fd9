"""JSON Schema of a spec file, listing what a registry holds; gives completion and checking in YAML editors."""

from __future__ import annotations

from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from scope_core.pruning.spec import PrunerSpec
from scope_core.registry.kinds import kind_named
from scope_core.registry.lookup import PartLookup
from scope_core.registry.records import Record
from scope_core.registry.specs import SLOT_MARK, shorthand_of


def json_schema(registry: PartLookup) -> dict[str, Any]:
    """The schema of `PrunerSpec` with every slot filled in from ``registry``.

    The options of the default selector are allowed at the top level too, as in spec files.
    """
    definitions: dict[str, Any] = {}
    own = PrunerSpec.model_json_schema()
    body = {**own["$defs"].pop("PrunerSpec"), "$defs": own["$defs"]}  # it refers to itself, through later stages
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
        if "$ref" in field:  # beside a recipe, a table without a name changes single options of the recipe's part
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
    """What a slot of ``kind`` accepts: a name, a short form, or a table with options."""
    short: list[dict[str, Any]] = [{"enum": registry.names(kind), "title": f"name of a {kind}"}]
    tables = []
    for record in registry.records(kind):
        bare = shorthand_of(record.spec)
        if bare is not None:
            number = "integer" if bare[0] is int else "number"
            short.append({"type": number, "title": f"short for {record.name}"})
        table = _table(record, definitions)
        table["required"] = ["name"]  # slots that are left out get their kind's default
        table["required"] += [f for f, i in record.spec.model_fields.items() if i.is_required() and f in _plain(table)]
        definitions[f"{kind}.{record.name}"] = {**table, "title": record.item.summary}
        tables.append({"$ref": f"#/$defs/{kind}.{record.name}"})
    return {"anyOf": [*short, *tables]}


def _table(record: Record, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of one part's spec; that of any table with its name where the author's types have none."""
    try:
        own = record.spec.model_json_schema()
    except PydanticInvalidForJsonSchema:
        return {"type": "object", "properties": {"name": {"const": record.name}}}
    table: dict[str, Any] = _resolved(own, definitions, f"{record.kind.name}.{record.name}.")
    return {"properties": {}, **table}


def _plain(table: dict[str, Any]) -> list[str]:
    """Fields of a table that are no slots and not the name."""
    return [name for name, field in table["properties"].items() if "$ref" not in field and name != "name"]


def _changes(kind: str, registry: PartLookup, definitions: dict[str, Any]) -> dict[str, Any]:
    """A table of options without a name: each may hold what it may hold in one of the parts that have it."""
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

    Nested definitions are hoisted into ``definitions`` under ``owner`` + their name, since two plugins may
    both define e.g. a ``Mode``.
    """
    if isinstance(node, list):
        return [_resolved(item, definitions, owner) for item in node]
    if not isinstance(node, dict):
        return node
    for name, nested in node.get("$defs", {}).items():
        definitions[f"{owner}{name}"] = _resolved(nested, definitions, owner)
    made = {key: _resolved(value, definitions, owner) for key, value in node.items() if key not in ("$defs", SLOT_MARK)}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace("#/$defs/", f"#/$defs/{owner}")
    if SLOT_MARK in node:
        mark = node[SLOT_MARK]
        reference: dict[str, Any] = {"$ref": f"#/$defs/{mark['kind']}"}
        if mark["many"]:
            reference = {"type": "array", "items": reference}
        elif mark["optional"]:
            reference = {"anyOf": [reference, {"type": "null"}]}
        made.update(reference)
    return made
