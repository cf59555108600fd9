"""Every part that is registered keeps the contract of its kind; there is no list of them here."""

from __future__ import annotations

import warnings

import pytest

import scope_core as scope
from scope_core.registry.kinds import KINDS
from scope_core.testing.parts import checks as checks
from scope_core.testing.parts.properties import CHECKED, EVERY, check_subject
from scope_core.testing.parts.subject import examples_of, subject_of

with warnings.catch_warnings():  # a broken plugin fails the tests that use the registry, not the collection of all
    warnings.simplefilter("ignore", scope.PluginWarning)
    REGISTRY = scope.discover()
PARTS = [
    pytest.param(kind, record.name, id=f"{kind}-{record.name}") for kind in EVERY for record in REGISTRY.records(kind)
]


def test_every_kind_of_part_has_a_check() -> None:
    kinds = {kind.name for kind in KINDS if kind.base} - {"adapter"}  # adapters: check_adapter
    assert set(CHECKED) == kinds
    assert all(callable(getattr(checks, f"check_{kind}")) for kind in kinds)
    assert {kind for kind in CHECKED if REGISTRY.records(kind)} == kinds


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_keeps_its_contract(kind: str, name: str) -> None:
    report = check_subject(subject_of(kind, name, registry=REGISTRY, examples=4))
    assert len(report.passed) >= 10


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_keeps_it_with_the_options_of_its_examples(kind: str, name: str) -> None:
    """Specs whose options depend on each other say which go together."""
    for options in examples_of(REGISTRY.get(kind, name))[1:]:
        check_subject(subject_of(kind, name, registry=REGISTRY, options=options, examples=2))


def test_the_embedded_task_keeps_its_contract() -> None:
    """The other one, `pope`, reads files that are not shipped."""
    report = check_subject(subject_of("task", "scenes", registry=REGISTRY))
    assert len(report.passed) >= 10
