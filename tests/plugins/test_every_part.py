"""What every registered part owes its readers."""

from __future__ import annotations

import inspect
import warnings

import pytest

import scope_core as scope
from scope_core.kinds import KINDS

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
        required = [n for n, f in spec_type.model_fields.items() if f.is_required() and n != "name"]
        if kind == "adapter" or any(n in ("stages", "shares", "keep", "keep_ratio") for n in required):
            options = {"stages": ["composite"], "shares": [1], "keep": 4, "keep_ratio": 0.5}
            table = {"name": record.name, **{n: options[n] for n in required if n in options}}  # type: ignore[attr-defined]
        else:
            table = {"name": record.name}  # type: ignore[attr-defined]
        registry = scope.default_registry()
        part = registry.build(kind, spec_type.model_validate(table, context={"registry": registry}))
        assert set(vars(part)) == {"spec", "parts", "kind", "origin"}

    def test_lives_in_the_file_of_its_name(self, kind: str, record: object) -> None:
        folder = {"adapter": "adapters"}.get(kind, kind)
        assert inspect.getfile(record.target).endswith(f"/{folder}/{record.name}.py")  # type: ignore[attr-defined]
