"""Read a spec in any of its forms, and explain what is wrong with it in terms of what the user wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from scope_core.errors import SpecError, did_you_mean, listed
from scope_core.pruning.spec import PrunerSpec, changed_part, selector_options
from scope_core.pruning.spec_short import from_short
from scope_core.registry.lookup import PartLookup


def read_spec(value: Any, registry: PartLookup, **overrides: Any) -> PrunerSpec:
    """The spec that ``value`` stands for.

    Args:
        value: ``"recipe"``, ``"recipe@64"``, ``"recipe@25%"``, the path of a YAML or JSON file, a mapping or
            a `PrunerSpec`.
        registry: The registry that names are looked up in.
        overrides: Top-level options that take precedence.

    Raises:
        SpecError: the spec is wrong; lists every error with its path in the spec.
    """
    if isinstance(value, PrunerSpec) and not overrides:
        value = {name: getattr(value, name) for name in PrunerSpec.model_fields}
    elif isinstance(value, PrunerSpec):  # list every option, so that the recipe does not add its own again
        kept = {
            "recipe": value.recipe,
            "constraints": value.constraints,
            "adapter": value.adapter,
            "order": value.order,
            "then": (),
        }
        value = {**kept, **value.to_dict(registry)}
    where = "spec"
    if isinstance(value, Path) or (isinstance(value, str) and value.endswith((".yaml", ".yml", ".json"))):
        where = f"spec file '{value}'"
        value = _read_file(Path(value))
    elif isinstance(value, str):
        where = f"spec '{value}'"
        value = from_short(value)
    if not isinstance(value, Mapping):
        if where == "spec":
            text = f"cannot read {value!r} as a spec; give a recipe ('scope@64'), a YAML file, a table or a PrunerSpec"
        else:
            text = f"{where} holds {value!r} instead of a table; write e.g. `recipe: scope` and `budget: 64`"
        raise SpecError(f"{text}. Recipes: {listed(registry.names('recipe'))}")
    if "selector" in overrides:  # a whole selector replaces the old one's parts
        value = {key: old for key, old in value.items() if key not in selector_options(registry)}
    data = {**value, **{key: changed_part(key, value.get(key), new, registry) for key, new in overrides.items()}}
    try:
        return PrunerSpec.model_validate(data, context={"registry": registry})
    except ValidationError as error:
        raise SpecError(explain(error, where, data)) from error


def label_of(spec: PrunerSpec, registry: PartLookup) -> str:
    """`PrunerSpec.label` with the options that differ from the recipe: ``scope+combiner@64``."""
    recipe, _, amount = spec.label.rpartition("@")
    return "+".join([recipe, *changes(spec, registry)]) + f"@{amount}"


def changes(spec: PrunerSpec, registry: PartLookup) -> dict[str, Any]:
    """Options that differ from the recipe: ``{key of the long form: the recipe's value, None if it has none}``.

    The budget is ignored, since a recipe need not have one.
    """
    if spec.recipe is None:
        return {}
    given = spec.to_dict(registry)
    plain = read_spec({"recipe": spec.recipe, "budget": spec.budget}, registry).to_dict(registry)
    return {key: plain.get(key) for key in {**plain, **given} if key != "budget" and given.get(key) != plain.get(key)}


def explain(error: ValidationError, where: str, data: Mapping[str, Any]) -> str:
    """The message of a validation error: each error with its path in what the user wrote, and what is allowed."""
    lines: list[str] = []
    reported: set[tuple[str, ...]] = set()
    for issue in error.errors(include_url=False):
        path = [str(step) for step in issue["loc"]]
        stage, path = (path[:2], path[2:]) if path[:1] == ["then"] and len(path) > 1 else ([], path)
        if path[:1] == ["selector"] and not _whole_selector(data):
            path = path[1:]
        text = issue["msg"].removeprefix("Value error, ")
        if issue["type"] == "missing" and path == ["budget"]:
            text = "no budget is given; write e.g. `budget: 64` (tokens per image) or `budget: 0.25` (a share)"
        elif issue["type"] not in _OWN_TYPES and not isinstance(issue["input"], Mapping):
            text += f" (given: {issue['input']!r})"
        if (*path, text) in reported:  # a later stage inherited it from an earlier one
            continue
        reported.add((*path, text))
        lines.append(f"{'.'.join([*stage, *path])}: {text}" if stage or path else text)
    if len(lines) == 1:
        return f"{where}: {lines[0]}"
    return f"{where} is wrong in {len(lines)} places:\n" + "\n".join(f"  {line}" for line in lines)


def _whole_selector(data: Mapping[str, Any]) -> bool:
    """True if any stage of the spec, as written, names a selector."""
    stages = data.get("then")
    stages = stages if isinstance(stages, Iterable) else ()
    return any("selector" in stage for stage in (data, *stages) if isinstance(stage, Mapping))


_OWN_TYPES = {
    "scope_unknown_option",
    "scope_unknown_part",
    "scope_wrong_kind",
    "scope_name_missing",
    "scope_list_wanted",
    "scope_contradiction",
    "scope_broken_spec",
    "missing",
}


def _read_file(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        nearby = [file.name for file in path.parent.glob("*") if file.suffix in (".yaml", ".yml", ".json")]
        hint = did_you_mean(path.name, nearby) if isinstance(error, FileNotFoundError) else ""
        raise SpecError(f"cannot read spec file '{path}': {getattr(error, 'strerror', error)}{hint}") from error
    try:
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_without_duplicates)
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader that also refuses duplicate keys
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"spec file '{path}' is not valid {path.suffix[1:].upper()}: {error}") from error


def _without_duplicates(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    keys = [key for key, _ in pairs]
    duplicates = sorted({str(key) for key in keys if keys.count(key) > 1})
    if duplicates:
        raise ValueError(f"'{duplicates[0]}' is given twice")
    return dict(pairs)


class _UniqueKeys(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys; PyYAML itself would silently use the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for written, _ in node.value:
            key = self.construct_object(written, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is given twice", written.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep=deep)
