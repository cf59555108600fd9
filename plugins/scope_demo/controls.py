"""Controls for the options of a spec's parts, from the JSON Schema of spec files: an installed plugin's options too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from scope_core import PrunerSpec, Registry, SpecError
from scope_core.commands import json_schema
from scope_demo.specs import inline

NONE = "(none)"
"""The choice that stands for null."""
Path = tuple["str | int", ...]
_LAST = ("constraints", "order", "attention_bias", "memory", "at", "dtype")
_APART = ("recipe", "budget", "then", "adapter")
"""Options without a control: the slider sets the budget, and the others are written in YAML."""


@dataclass(frozen=True)
class Control:
    """The control of one option.

    Attributes:
        path: Keys and positions that lead to the option in the spec.
        kind: ``"part"`` and ``"choice"`` (one of ``choices``), ``"switch"``, ``"integer"``, ``"number"``, or ``"yaml"``
            for everything else, as a line of YAML.
        value: Its value.
        about: What it does, in one sentence.
        choices: Names to choose from.
        least: Smallest value; None for no limit.
        most: Largest value; None for no limit.
        depth: Number of parts that it is inside of.
    """

    path: Path
    kind: str
    value: Any
    about: str = ""
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    depth: int = 0

    @property
    def label(self) -> str:
        """The path as it is written in messages, e.g. ``saliency.layer``."""
        return ".".join(str(step + 1) if isinstance(step, int) else step for step in self.path)


class Controls:
    """Makes the controls of specs.

    Args:
        registry: The registry whose parts are offered.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.schema = json_schema(registry)
        self.parts: dict[str, Any] = self.schema["$defs"]

    def of(self, spec: PrunerSpec) -> list[Control]:
        """The controls of every option of a spec, each part before its own options."""
        table = json.loads(json.dumps(spec.to_table(self.registry)))
        fields = {key: field for key, field in self.schema["properties"].items() if key in table and key not in _APART}
        ordered = sorted(fields, key=lambda key: (key in _LAST, list(table).index(key)))
        return [one for key in ordered for one in self._field((key,), fields[key], table[key], 0)]

    def _field(self, path: Path, field: Mapping[str, Any], value: Any, depth: int) -> Iterator[Control]:
        about = " ".join(str(field.get("description", "")).replace("``", "").split()).partition(". ")[0].rstrip(".")
        if (kind := self._kind_of(field)) is not None:
            yield from self._part(path, kind, value, about, depth, optional=_takes_null(field))
        elif isinstance(field.get("items"), Mapping) and (kind := self._kind_of(field["items"])) is not None:
            for number, item in enumerate(value):
                yield from self._part((*path, number), kind, item, about, depth, optional=False)
        else:
            yield _plain(path, field, value, about, depth)

    def _part(self, path: Path, kind: str, value: Any, about: str, depth: int, *, optional: bool) -> Iterator[Control]:
        names = tuple(self.registry.names(kind))
        name = value if isinstance(value, str) else (value or {}).get("name", NONE)
        choices = (NONE, *names) if optional else names
        yield Control(path, "part", name, about, choices, depth=depth)
        options = self.parts.get(f"{kind}.{name}", {}).get("properties", {})
        given = value if isinstance(value, Mapping) else {}
        for key, field in options.items():
            if key != "name" and (key in given or "default" in field):
                yield from self._field((*path, key), field, given.get(key, field.get("default")), depth + 1)

    def _kind_of(self, field: Mapping[str, Any]) -> str | None:
        """The kind of part that an option takes; None if it takes no part."""
        for one in (field, *field.get("anyOf", ())):
            kind = str(one.get("$ref", "")).removeprefix("#/$defs/")
            if kind in self.registry.kinds():
                return kind
        return None


def _takes_null(field: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "null" for one in field.get("anyOf", ()))


def _plain(path: Path, field: Mapping[str, Any], value: Any, about: str, depth: int) -> Control:
    """The control of an option that takes no part."""
    if "enum" in field and all(isinstance(one, str) for one in field["enum"]):
        return Control(path, "choice", value, about, tuple(field["enum"]), depth=depth)
    if field.get("type") == "boolean":
        return Control(path, "switch", bool(value), about, depth=depth)
    if field.get("type") in ("integer", "number"):
        least = field.get("minimum", field.get("exclusiveMinimum"))
        most = field.get("maximum", field.get("exclusiveMaximum"))
        return Control(path, field["type"], value, about, (), least, most, depth)
    return Control(path, "yaml", inline(value), about, depth=depth)


def value_of(control: Control, given: Any) -> Any:
    """The value for the spec that a visitor gave with a control.

    Raises:
        SpecError: the text is not YAML, or a number is missing.
    """
    if control.kind == "part":
        return None if given == NONE else given
    if control.kind in ("integer", "number"):
        if given is None:
            raise SpecError(f"{control.label}: no number is given; the value was {control.value}")
        return int(given) if control.kind == "integer" and float(given).is_integer() else given
    if control.kind == "yaml":
        try:
            return yaml.safe_load(given or "")
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise SpecError(f"{control.label}: this is not YAML; write e.g. [1, 2] or null") from error
    return given
