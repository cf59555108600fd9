"""Properties of every built-in part, whatever its kind."""

from __future__ import annotations

import inspect
import warnings

import pytest
from fakes import least

import scope_core as scope
from scope_core.registry.kinds import KINDS

with warnings.catch_warnings():  # a broken plugin fails the tests that use the registry, not the collection of all
    warnings.simplefilter("ignore", scope.PluginWarning)
    REGISTRY = scope.discover()
PARTS = [
    (kind.name, record)
    for kind in KINDS
    if kind.base
    for record in REGISTRY.records(kind.name)
    if record.origin.distribution == "scope-core"
]


def test_there_are_parts_of_every_kind_but_none_is_required_to_have_one() -> None:
    assert {kind for kind, _ in PARTS} >= {"saliency", "similarity", "coverage", "combiner", "optimizer", "selector"}


@pytest.mark.parametrize(("kind", "record"), PARTS, ids=[f"{kind}-{record.name}" for kind, record in PARTS])
class TestPart:
    def test_has_a_summary_of_one_line(self, kind: str, record: object) -> None:
        summary = record.item.summary  # type: ignore[attr-defined]
        assert summary
        assert "\n" not in summary
        assert not summary.endswith(".")

    def test_has_docstrings(self, kind: str, record: object) -> None:
        assert record.target.__doc__  # type: ignore[attr-defined]
        assert record.spec.__doc__  # type: ignore[attr-defined]
        for name, field in record.spec.model_fields.items():  # type: ignore[attr-defined]
            assert name == "name" or field.description, f"option {name} has no docstring"

    def test_is_stateless(self, kind: str, record: object) -> None:
        """A part holds its spec, the parts in its slots and its stamps, and nothing about any call."""
        spec_type = record.spec  # type: ignore[attr-defined]
        registry = scope.default_registry()
        table = least(registry, kind, record.name)  # type: ignore[attr-defined]
        part = registry.build(kind, spec_type.model_validate(table, context={"registry": registry}))
        assert set(vars(part)) == {"spec", "parts", "kind", "origin"}

    def test_lives_in_the_file_of_its_name(self, kind: str, record: object) -> None:
        folder = {"adapter": "adapters"}.get(kind, kind)
        home = inspect.getfile(record.target)  # type: ignore[attr-defined]
        assert home.endswith(f"/{folder}/{record.name}.py") or f"/{folder}/{record.name}/" in home
