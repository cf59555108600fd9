"""Read a spec in any of its forms, and explain what is wrong with it in terms of what the user wrote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from scope_core.errors import SpecError, listed, quoted
from scope_core.pruning.spec import PrunerSpec
from scope_core.pruning.spec_file import LineOf, is_file_name, read_file, read_text
from scope_core.pruning.spec_limits import check_size
from scope_core.pruning.spec_short import from_short
from scope_core.pruning.spec_tables import changed_part, selector_options
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
        value = {"adapter": None, "then": (), **value.to_table(registry)}
    where, line_of = "spec", None
    if isinstance(value, Path) or (isinstance(value, str) and is_file_name(value)):
        where = f"spec file {quoted(str(value), 400)}"
        value, line_of = read_file(Path(value))
    elif isinstance(value, str):
        where = f"spec {quoted(value)}"
        check_size(value, where)
        if value.lower().endswith(".toml"):
            raise SpecError(f"{where}: spec files are YAML or JSON; give a .yaml, .yml or .json file")
        return _short_spec(value, where, registry, overrides)
    return _checked(value, where, line_of, registry, overrides)


def _short_spec(text: str, where: str, registry: PartLookup, overrides: Mapping[str, Any]) -> PrunerSpec:
    """The spec of a short form, remembered: servers select with the same text in every call.

    Registries and specs never change, so neither does the answer. Specs that cannot be hashed are not remembered, for
    they hold something that a caller may change.
    """
    if overrides:
        return _checked(from_short(text), where, None, registry, overrides)
    known = _SHORT.setdefault(registry, {})
    if (found := known.get(text)) is not None:
        return found
    spec = _checked(from_short(text), where, None, registry, overrides)
    try:
        hash(spec)
    except TypeError:
        return spec
    if len(known) >= _REMEMBERED:
        known.clear()
    known[text] = spec
    return spec


_SHORT: WeakKeyDictionary[PartLookup, dict[str, PrunerSpec]] = WeakKeyDictionary()
_REMEMBERED = 256
"""The most short forms that are remembered of one registry."""


def read_spec_text(text: str, registry: PartLookup, *, name: str = "spec", **overrides: Any) -> PrunerSpec:
    """The spec that the text of a YAML file stands for; messages name its lines.

    Args:
        text: YAML.
        registry: The registry that names are looked up in.
        name: The text's name in messages.
        overrides: Top-level options that take precedence.

    Raises:
        SpecError: the spec is wrong; lists every error with its line and its path in the spec.
    """
    value, line_of = read_text(text, name, name=name)
    return _checked(value, name, line_of, registry, overrides)


def _checked(
    value: Any, where: str, line_of: LineOf | None, registry: PartLookup, overrides: Mapping[str, Any]
) -> PrunerSpec:
    """The spec of a table with overrides."""
    if not isinstance(value, Mapping):
        if where == "spec" and line_of is None:
            text = (
                f"cannot read {quoted(value)} as a spec; give a recipe ('scope@64'), a YAML file, a table or a "
                f"PrunerSpec"
            )
        elif value is None:
            text = f"{where} is empty; write e.g. `recipe: scope` and `budget: 64`"
        else:
            text = f"{where} holds {quoted(value)} instead of a table; write e.g. `recipe: scope` and `budget: 64`"
        raise SpecError(f"{text}. Recipes: {listed(registry.names('recipe'))}")
    check_size({**value, **overrides}, where)
    if "selector" in overrides:  # a whole selector replaces the old one's parts
        value = {key: old for key, old in value.items() if key not in selector_options(registry)}
    changed = {key: changed_part(key, value.get(key), new, PrunerSpec, registry) for key, new in overrides.items()}
    data = {**value, **changed}
    try:
        return PrunerSpec.model_validate(data, context={"registry": registry})
    except ValidationError as error:
        raise SpecError(explain(error, where, data, line_of)) from error


def explain(error: ValidationError, where: str, data: Mapping[str, Any], line_of: LineOf | None = None) -> str:
    """The message of a validation error: each mistake with its place in what the user wrote, and what is allowed.

    Args:
        error: The error.
        where: The spec's name in messages.
        data: The spec as the user wrote it.
        line_of: Finds lines in the spec file; None without a file.
    """
    lines: list[str] = []
    reported: set[tuple[str, ...]] = set()
    for issue in error.errors(include_url=False):
        place = [str(step) for step in issue["loc"] if not str(step).startswith("function-")]  # steps of pydantic's own
        stage, path = (place[:2], place[2:]) if place[:1] == ["then"] and len(place) > 1 else ([], place)
        if path[:1] == ["selector"] and not _whole_selector(data):
            path = path[1:]
        message = _message(issue, path)
        if (*path, message) in reported and not _is_written(data, [*stage, *path]):
            continue  # a later stage inherited it from an earlier one
        reported.add((*path, message))
        line = line_of([*stage, *path]) if line_of else None
        if issue["type"] == "scope_unknown_option" or (issue["type"], path[-1:]) == ("scope_unknown_part", ["recipe"]):
            path = path[:-1]  # the message names the option
        at = [f"line {line}"] if line else []
        at += [".".join([*stage, *path])] if stage or path else []
        lines.append(f"{', '.join(at)}: {message}" if at else message)
    return _joined(where, lines)


def _message(issue: Any, path: Sequence[str]) -> str:
    """One mistake in words, without its place."""
    message: str = issue["msg"].removeprefix("Value error, ")
    if issue["type"] == "missing" and list(path) == ["budget"]:
        return "no budget is given; write e.g. `budget: 64` (tokens per image) or `budget: 0.25` (a share)"
    if issue["type"] not in _OWN_TYPES and not isinstance(issue["input"], Mapping):
        message += f" (given: {quoted(issue['input'])})"
    return message if len(message) <= _MESSAGE else f"{message[: _MESSAGE - 300]} ... {message[-300:]}"


def _joined(where: str, lines: list[str]) -> str:
    """All mistakes as one message; shortened if they are many, so that each is named."""
    if len(lines) == 1:
        return f"{where}: {lines[0]}"
    shown = lines[:_MOST]
    if len("".join(shown)) > _WHOLE:
        space = _WHOLE // len(shown)
        shown = [line if len(line) <= space else f"{line[:space]}..." for line in shown]
    if len(lines) > len(shown):
        shown.append(f"and {len(lines) - len(shown):,} further mistakes; correct these first")
    return f"{where} is wrong in {len(lines):,} places:\n" + "\n".join(f"  {line}" for line in shown)


_MESSAGE, _WHOLE, _MOST = 1200, 1800, 16
"""The most characters of one mistake's message, and of those of all mistakes; the most mistakes that are listed."""


def _is_written(data: Any, place: Sequence[str]) -> bool:
    """True if the user wrote something at this place."""
    for step in place:
        if isinstance(data, Mapping) and step in data:
            data = data[step]
        elif isinstance(data, (list, tuple)) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return False
    return True


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
