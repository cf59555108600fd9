"""The page of the search says what was measured, and the recipes are the candidates that it marks."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

import scope_core as scope
from docs.pages import ROOT


def loaded(name: str) -> ModuleType:
    path = ROOT / "docs" / "evidence" / "search" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"search_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("round_", "label", "recipe"), [("SECOND", "k_w1_a.5", "scope_plus"), ("TEXT", "t.05_prod", "scope_text")]
)
def test_a_recipe_is_the_candidate_that_the_page_marks(round_: str, label: str, recipe: str) -> None:
    candidate = getattr(loaded("candidates"), round_)[label]
    budget = {"name": "tokens", "keep": 64, "per": "image"}
    assert scope.Pruner({**candidate, "budget": budget}).spec.to_dict() == scope.Pruner(recipe).spec.to_dict()
    assert loaded("table").NAMES[label].startswith("**")


def test_every_candidate_was_measured_and_has_a_name() -> None:
    measured, candidates = loaded("table")._measured()["validation"], loaded("candidates")
    for round_ in ("first", "second", "third", "last", "text"):
        names = {row["name"] for row in measured[round_]["rows"]}
        assert set(getattr(candidates, round_.upper())) <= names
        assert names <= set(loaded("table").NAMES)
        assert all("difference" in row["more"] for row in measured[round_]["rows"])
