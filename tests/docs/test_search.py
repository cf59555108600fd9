"""The page of the search says what was measured, and the recipes are the candidates that it marks."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import torch

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


def test_the_other_scenes_are_of_another_seed_and_split_than_the_test() -> None:
    table = loaded("table")
    fresh = table._measured()["fresh"]
    assert fresh["seed"] >= 10_000, "the search drew the scenes from seed 0 on"
    assert fresh["split"] == "validation"
    assert f"images of the split `validation`, seed {fresh['seed']}." in table.test("fresh")
    assert "images of the split `test`.\n" in table.test("test")


@pytest.mark.parametrize(("part", "held"), [("test", {32, 16}), ("fresh", {16})])
def test_the_page_claims_gains_only_where_they_were_measured(part: str, held: set[int]) -> None:
    rows = [row for row in loaded("table")._measured()[part]["rows"] if row["name"] == "scope_plus"]
    assert {row["keep"] for row in rows if row["more"]["separated"]} == held
    assert all(row["more"]["interval"][0] > 0 for row in rows if row["keep"] in held)
    page = (ROOT / "docs" / "search.md").read_text("utf-8")
    assert "gain at 16 tokens held; that at 32 was not confirmed" in page


@pytest.mark.parametrize("pairs", [1, 28])
def test_the_scenes_that_are_needed_separate_a_difference_as_often_as_they_say(pairs: int) -> None:
    table, scenes, spread, difference = loaded("table"), 400, 0.05, 0.004
    half = 1.959964 * spread / scenes**0.5
    gap = {"difference": difference, "interval": [difference - half, difference + half]}
    needed = table.scenes_needed(gap, scenes, pairs)
    random = torch.Generator().manual_seed(0)
    drawn = difference + spread * torch.randn(2_000, needed, generator=random, dtype=torch.float64)
    error = drawn.std(1) / needed**0.5
    normal = torch.distributions.Normal(0.0, 1.0)
    p = 2 * (1 - normal.cdf((drawn.mean(1) / error).abs()))
    assert 0.77 < float((p < 0.05 / pairs).double().mean()) < 0.86
