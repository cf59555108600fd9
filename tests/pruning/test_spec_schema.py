"""The JSON Schema of spec files: what validates as a spec passes, what does not fails."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from fakes import entry, module

import scope_core as scope
from scope_core import Pruner, SpecError
from scope_core.parts import SaliencySource
from scope_core.pruning.spec_schema import json_schema
from scope_core.registry.kinds import kind_named

jsonschema = pytest.importorskip("jsonschema")

GOOD: tuple[dict[str, Any], ...] = (
    {"recipe": "scope"},
    {"recipe": "scope", "budget": 64},
    {"recipe": "scope", "budget": 0.25},
    {"recipe": "scope", "budget": {"per": "total"}},
    {"recipe": "scope", "combiner": {"alpha": 2}},
    {"saliency": {"name": "cls_attention", "heads": "mean"}, "budget": {"name": "tokens", "keep": 4}},
    {"budget": 4, "constraints": [{"name": "cells", "keep": [[1, 2]]}, "cells"]},
    {"budget": 4, "adapter": None, "dtype": "as_is", "partition": "tile"},
    {
        "selector": {
            "name": "chain",
            "stages": ["composite", {"name": "composite", "saliency": "uniform"}],
            "shares": [1, 2],
        },
        "budget": 4,
    },
)
BAD: tuple[dict[str, Any], ...] = (
    {"recipe": "scpe"},
    {"recipe": "scope", "budgett": 64},
    {"recipe": "scope", "combiner": {"alfa": 2}},
    {"recipe": "scope", "combiner": {"alpha": "high"}},
    {"recipe": "scope", "combiner": {"name": "product", "alfa": 2}},
    {"recipe": "scope", "combiner": {"name": "product", "alpha": -1}},
    {"recipe": "scope", "saliency": "cosine"},
    {"recipe": "scope", "saliency": 0.5},
    {"recipe": "scope", "budget": {"name": "tokens"}},
    {"recipe": "scope", "budget": True},
    {"recipe": "scope", "dtype": "half"},
    {"budget": 4, "constraints": "cells"},
    {"budget": 4, "constraints": [{"name": "cells", "kep": []}]},
    {"selector": {"name": "chain", "stages": ["compsite"], "shares": [1]}, "budget": 4},
)


@pytest.fixture(scope="module")
def valid(registry: scope.Registry) -> Callable[[Any], bool]:
    schema = json_schema(registry)
    jsonschema.Draft202012Validator.check_schema(schema)
    check: Callable[[Any], bool] = jsonschema.Draft202012Validator(schema).is_valid
    return check


@pytest.mark.parametrize("spec", GOOD)
def test_good_specs_pass(spec: dict[str, Any], valid: Callable[[Any], bool], registry: scope.Registry) -> None:
    long_form = Pruner(spec, registry=registry).spec.to_dict(registry)
    assert valid(spec)
    assert valid(long_form)


@pytest.mark.parametrize("spec", BAD)
def test_bad_specs_fail(spec: dict[str, Any], valid: Callable[[Any], bool], registry: scope.Registry) -> None:
    with pytest.raises(SpecError):
        Pruner(spec, registry=registry)
    assert not valid(spec)


def test_every_recipe_passes(valid: Callable[[Any], bool], registry: scope.Registry) -> None:
    for name in registry.names("recipe"):
        assert valid(Pruner(name, registry=registry).spec.to_dict(registry)), name


def test_options_are_described(registry: scope.Registry) -> None:
    definitions = json_schema(registry)["$defs"]
    for kind in registry.kinds():
        if kind_named(kind).base:
            for record in registry.records(kind):
                for option, field in definitions[f"{kind}.{record.name}"]["properties"].items():
                    assert option == "name" or field.get("description"), f"{kind} {record.name}: {option}"


def mode(*values: str) -> type[Enum]:
    return Enum("Mode", [(value, value) for value in values])  # type: ignore[return-value]


def test_two_plugins_may_define_types_of_one_name(registry: scope.Registry) -> None:
    entries = [
        entry(SaliencySource, "acme.left", options={"mode": (mode("a", "b"), "a")}, score=None),
        entry(SaliencySource, "acme.right", options={"mode": (mode("c", "d"), "c")}, score=None),
    ]
    wider = registry.with_module(module(scope_saliency_sources=entries))
    check = jsonschema.Draft202012Validator(json_schema(wider)).is_valid
    assert check({"budget": 4, "saliency": {"name": "acme.left", "mode": "b"}})
    assert check({"budget": 4, "saliency": {"name": "acme.right", "mode": "d"}})
    assert not check({"budget": 4, "saliency": {"name": "acme.left", "mode": "d"}})


def test_a_plugin_whose_types_have_no_schema_spoils_nothing(registry: scope.Registry) -> None:
    from collections.abc import Callable as Anything

    odd = entry(SaliencySource, "acme.odd", options={"hook": (Anything[[int], int] | None, None)}, score=None)
    wider = registry.with_module(module(scope_saliency_sources=[odd]))
    check = jsonschema.Draft202012Validator(json_schema(wider)).is_valid
    assert check({"budget": 4, "saliency": "acme.odd"})
    assert check({"recipe": "scope"})
    assert not check({"recipe": "scope", "saliency": "acme.od"})
