"""Limits of specs given as Python objects."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

import scope_core as scope
from pruning.test_spec_file import refused
from scope_core import Pruner
from scope_core.pruning.spec_limits import DEPTH, VALUES


def deep(levels: int) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for _ in range(levels):
        table = {"a": table}
    return table


def inside_itself() -> dict[str, Any]:
    table: dict[str, Any] = {"recipe": "scope"}
    table["budget"] = table
    return table


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (deep(20_000), f"more than {DEPTH} tables or lists inside each other, under 'a'"),
        (inside_itself(), "holds itself, under 'budget'"),
        ({"recipe": "scope", "constraints": ["x"] * 10**6}, f"more than {VALUES:,} values"),
        ({"recipe": "scope", "constraints": range(10**9)}, f"more than {VALUES:,} values"),
        ({"recipe": "scope", "constraints": itertools.count()}, "can be read only once; give a list"),
        ({"recipe": "s" * 10**6}, "a text of 1,000,000 characters, under 'recipe'"),
        ({"recipe": "scope", "k" * 10**6: 1}, "a text of 1,000,000 characters"),
        ("s" * 10**6, "a text of 1,000,000 characters"),
        ("scope@" + "9" * 5000, "a text of 5,006 characters"),
        ("scope@" + "9" * 3000, "budget.keep: Input should be a whole number of at most 64 bits"),
        ({"recipe": "scope", "constraints": [{"name": "cells", "keep": [["a"] * 9] * 60}]}, "is wrong in 60 places"),
        ("a\0b.yaml", "cannot read spec file"),
        ("a" * 10_000 + ".yaml", "cannot read spec file 'aaa"),
        ({"recipe": "divprune", "at": {"x": 1}}, "at: Input should be text"),
        ({"recipe": "scope", "at": "vison"}, "at: 'vison' is not an interception point (did you mean 'vision'?)"),
    ],
)
def test_refused_in_words(spec: Any, complaint: str, registry: scope.Registry) -> None:
    assert complaint in refused(spec, registry)


def test_overrides_are_limited_too(registry: scope.Registry) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(scope.SpecError, match="holds itself, under 'constraints'"):
        Pruner("scope", registry=registry, constraints=loop)


def test_the_same_table_may_be_written_twice(registry: scope.Registry, tmp_path: Path) -> None:
    cells = {"name": "cells", "keep": [[row, column] for row in range(40) for column in range(40)]}
    spec = Pruner({"recipe": "scope", "constraints": [cells, cells], "budget": 2000}, registry=registry).spec
    assert len(spec.constraints) == 2
    assert len(spec.constraints[1].keep) == 1600  # type: ignore[attr-defined]


def test_points_of_third_party_adapters_have_a_dot(registry: scope.Registry) -> None:
    assert Pruner("scope", registry=registry, at="acme.pooled").spec.at == "acme.pooled"
