"""What `scope doctor` says of the versions that are installed, and that its tries see what is broken."""

from __future__ import annotations

import pytest

import scope_core as scope
from scope_adapters.checks import tested, ways

ROWS = {
    "floor": {"python": "3.10.13", "torch": "2.1.2", "transformers": "4.52.4", "timm": "0.9.10", "failed": 0},
    "newest": {"python": "3.13.0", "torch": "2.15.0", "transformers": "5.24.0", "timm": "1.0.31", "failed": 0},
    "red": {"python": "3.14.0", "torch": "3.0.0", "transformers": "6.0.0", "timm": "2.0", "failed": 1},
}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions that seem to be installed; a test changes them."""
    found = {"python": "3.12.1", "torch": "2.14.1+cu130", "transformers": "5.0.0", "timm": ""}
    monkeypatch.setattr(tested, "rows", lambda: ROWS)
    monkeypatch.setattr(tested, "_installed", found.__getitem__)
    return found


def test_inside_the_range(installed: dict[str, str]) -> None:
    (finding,) = tested.versions(None)
    assert finding.well
    assert "transformers 5.0.0 (tested: 4.52.4 to 5.24.0)" in finding.text
    assert "timm" not in finding.text


@pytest.mark.parametrize(("version", "word"), [("5.25.0", "newer"), ("4.37.2", "older")])
def test_outside_the_range(installed: dict[str, str], version: str, word: str) -> None:
    installed["transformers"] = version
    outside, inside = tested.versions(None)
    assert not outside.well
    assert f"transformers {version} is {word} than the tested versions, 4.52.4 to 5.24.0" in outside.text
    assert outside.versions == {"transformers": ("4.52.4", "5.24.0")}  # never the row that failed
    assert "torch 2.14.1" in inside.text


@pytest.mark.parametrize(("version", "well"), [("3.10.1", True), ("3.13.9", True), ("3.14.0", False)])
def test_the_last_number_of_python_does_not_count(installed: dict[str, str], version: str, well: bool) -> None:
    installed["python"] = version
    assert next(iter(tested.versions(None))).well is well


def test_nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested, "rows", dict)
    (finding,) = tested.versions(None)
    assert (finding.well, finding.text) == (False, "no environment is recorded in which all tests passed")


def test_the_record_holds_what_the_table_and_the_doctor_read() -> None:
    for row in tested.rows().values():
        assert {"python", *tested.PACKAGES, "numpy", "passed", "failed", "skipped", "date"} <= set(row)


def test_a_model_that_is_not_pruned_is_a_problem(registry: scope.Registry) -> None:
    model, inputs = ways.tiny()
    with pytest.raises(scope.ScopeError, match="4 of 16 tokens should remain; the receipt says "):
        ways.try_on(model, inputs, {"recipe": "scope", "budget": 5}, registry)


def test_a_model_that_changes_is_a_problem(registry: scope.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = ways.tiny()
    answers = iter((1, 1, 2))
    generate = type(model).generate
    monkeypatch.setattr(type(model), "generate", lambda self, **given: generate(self, **given) * next(answers))
    with pytest.raises(scope.ScopeError, match="answers differently after detaching"):
        ways.try_on(model, inputs, {"recipe": "scope", "budget": 4}, registry)
