"""Types of options: for every option of every part and recipe, a value of another kind is refused by name.

What is allowed is read from the JSON Schema of each part's spec, which pydantic generates from the annotations alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from fakes import module
from pydantic import BeforeValidator, Field, ValidationError

import scope_core as scope
from scope_core import Pruner, SpecError, default_registry
from scope_core.parts import ComponentSpec, Entry
from scope_core.registry.kinds import kind_named
from scope_core.registry.specs import SLOT_MARK

jsonschema = pytest.importorskip("jsonschema")


class Odd(Enum):
    ONE = 1


class Text(str, Enum):
    VISION = "vision"


class Whole(IntEnum):
    TWO = 2


PLAIN: tuple[Any, ...] = (
    *(True, False, 0.5, 2.5, -0.5, 7, "0.5", "7", "true", "", None, [], [True], ["1"], [[True, 1]]),
    *({}, {"name": True}, 10**30, "x", [0.5], [[1, 2]]),
)
"""Values that JSON can hold too: allowed only where the JSON Schema allows them."""

OTHER: tuple[Any, ...] = (b"1", np.bool_(True), torch.tensor(1), torch.tensor(0.5), torch.tensor(True), Odd.ONE, 1j)
"""Values that are neither text nor a number of Python's or NumPy's: refused everywhere."""


def options() -> Iterator[tuple[type[ComponentSpec], str, Any]]:
    """Every option of every part other than slots, with its JSON Schema."""
    registry = default_registry()
    for kind in registry.kinds():
        for record in registry.records(kind) if kind_named(kind).base else ():
            schema = record.spec.model_json_schema()
            for option, field in schema["properties"].items():
                if option != "name" and SLOT_MARK not in field:
                    yield record.spec, option, {**field, "$defs": schema.get("$defs", {})}


def refused(model: type[ComponentSpec], option: str, value: Any) -> bool:
    """True if there is an error at this option."""
    try:
        model.model_validate({option: value})
    except ValidationError as error:
        return any(issue["loc"][:1] == (option,) for issue in error.errors())
    return False


@pytest.mark.parametrize(
    ("model", "option", "schema"), [*options()], ids=lambda value: str(getattr(value, "__name__", ""))
)
def test_only_what_the_json_schema_allows_is_taken(model: type[ComponentSpec], option: str, schema: Any) -> None:
    allowed = jsonschema.Draft202012Validator(schema).is_valid
    for value in PLAIN:
        assert refused(model, option, value) or allowed(value), f"{option}: {value!r} was taken"
    for value in OTHER:
        assert refused(model, option, value), f"{option}: {value!r} was taken"
    if allowed(2):
        for value in (np.int64(2), np.float32(2), np.float64(2), 2.0, Whole.TWO):
            assert not refused(model, option, value), f"{option}: {value!r} was refused"


@pytest.mark.parametrize("name", default_registry().names("recipe"))
def test_a_boolean_is_no_number_in_any_recipe(name: str, registry: scope.Registry) -> None:
    for key, table in Pruner(name, registry=registry).spec.to_dict(registry).items():
        for option, old in table.items() if isinstance(table, dict) else ():
            if isinstance(old, (int, float)) and not isinstance(old, bool):
                with pytest.raises(SpecError, match=rf"{key}\.{option}: Input should be a (whole )?number"):
                    Pruner({"recipe": name, key: {option: True}}, registry=registry)


@pytest.mark.parametrize("option", ["at", "dtype", "order", "recipe", "budget", "then", "memory", "saliency"])
@pytest.mark.parametrize("value", [True, 1j, b"1", Odd.ONE, torch.tensor(1)])
def test_top_level_options(option: str, value: Any, registry: scope.Registry) -> None:
    with pytest.raises(SpecError, match=option):
        Pruner({"recipe": "scope", option: value}, registry=registry)


def test_text_of_an_enum_is_text(registry: scope.Registry) -> None:
    at = Pruner({"recipe": "scope", "at": Text.VISION}, registry=registry).spec.at
    assert (at, type(at)) == ("vision", str)


def test_memory_is_at_most_what_a_machine_has(registry: scope.Registry) -> None:
    with pytest.raises(SpecError, match=r"memory: Input should be less than or equal to 1000000 \(given: 1e\+300\)"):
        Pruner({"recipe": "scope", "memory": 1e300}, registry=registry)


class PluginSpec(ComponentSpec):
    """A third-party spec, which says nothing about strictness."""

    name: Literal["acme.types"] = "acme.types"
    whole: Annotated[int, Field(ge=0)] = 0
    either: int | str | None = None
    numbers: tuple[float, ...] = ()
    table: Annotated[dict[str, int], Field(default_factory=lambda: {"type": 1})]
    type: bool = False
    one_of: Literal[1, 2] = 1
    percent: Annotated[float, BeforeValidator(lambda v: float(v[:-1]) / 100 if isinstance(v, str) else v)] = 0.5
    lax: Annotated[int, Field(strict=False)] = 0


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("whole", 3.0, 3),
        ("either", "3", "3"),
        ("either", 3, 3),
        ("numbers", [1, 0.5], (1.0, 0.5)),
        ("table", {"type": 2}, {"type": 2}),
        ("type", True, True),
        ("percent", "25%", 0.25),
        ("lax", "3", 3),
    ],
)
def test_third_party_options_are_taken(option: str, value: Any, expected: Any, registry: scope.Registry) -> None:
    assert getattr(PluginSpec(**{option: value}), option) == expected


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("whole", "3"),
        ("whole", True),
        ("whole", 2**64),
        ("either", True),
        ("numbers", [1, True]),
        ("table", {"type": True}),
        ("type", 1),
        ("type", "yes"),
        ("one_of", True),
        ("percent", True),
    ],
)
def test_third_party_options_are_refused_by_name(option: str, value: Any, registry: scope.Registry) -> None:
    wider = registry.with_module(module(scope_saliency_sources=[Entry(PluginSpec, "acme:Nothing", "types")]))
    with pytest.raises(SpecError, match=rf"saliency\.{option}[.\w]*: Input should be .*given: "):
        Pruner({"recipe": "scope", "saliency": {"name": "acme.types", option: value}}, registry=wider)
