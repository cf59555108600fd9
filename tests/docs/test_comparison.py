"""The tables of all methods: every recipe is in one of them or has a reason, and controls come first."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from types import ModuleType
from typing import Any

import pytest

import scope_core as scope
from docs.pages import ROOT

FOLDER = ROOT / "docs" / "evidence" / "comparison"
MEASURED = json.loads((FOLDER / "results.json").read_text("utf-8"))


def made(name: str = "table") -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"comparison_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def recipes() -> list[str]:
    return [record.name for record in scope.default_registry().records("recipe")]


def asked() -> list[dict[str, Any]]:
    return MEASURED.get("asked", {"rows": []})["rows"]


def test_every_recipe_is_in_a_table_or_in_the_list_of_reasons() -> None:
    page = (ROOT / "docs" / "comparison.md").read_text("utf-8")
    tables, left = page.split("## Not measured")
    rows = re.findall(r"^\| \[(\w+)\]", tables, re.MULTILINE)
    reasons = re.findall(r"`([\w@]+)`(?=,|$)", left.partition("<!-- end -->")[0], re.MULTILINE)
    assert sorted({*rows, *reasons}) == sorted(recipes())
    assert not set(rows) & set(reasons)
    assert {name for name in rows if rows.count(name) > 1} == {row["recipe"] for row in asked() if row["beside"]}


def test_recipes_are_in_the_table_of_their_kind_and_reasons_are_those_of_the_model() -> None:
    found = made("run").candidates(scope.default_registry(), scope.load("scenes-llava").model)
    images = {name for name, _ in found.images}
    assert sorted({*images, *found.questions, *found.left}) == sorted(recipes())
    assert {row["recipe"] for row in MEASURED["rows"]} <= images
    assert {row["recipe"] for row in asked() if not row["beside"]} <= set(found.questions)
    assert found.left == MEASURED["left_out"]


def test_a_recipe_that_came_later_is_listed() -> None:
    line = re.search(r"^- not measured yet: .*`later`$", made().left_out([*recipes(), "later"]), re.MULTILINE)
    assert line
    assert "`later`" not in made().left_out(recipes())


@pytest.mark.parametrize("part", [MEASURED, *([MEASURED["asked"]] if "asked" in MEASURED else ())])
def test_every_cell_of_a_table_is_measured_on_the_same_questions(part: dict[str, Any]) -> None:
    cells = [row["accuracy"][str(keep)] for row in part["rows"] for keep in part["budgets"]]
    assert {cell["questions"] for cell in cells} == {part["questions"]}


def test_recipes_with_one_call_for_each_question_are_compared_with_scope() -> None:
    lines = [line for line in made().asked().splitlines() if line.startswith("| [")]
    assert len(lines) == len(asked())
    starred = {re.match(r"\| \[(\w+)\]", line)[1] for line in lines if " * |" in line}
    assert starred == ({"scope", "random"} if asked() else set())
    for row in asked():
        for cell in row["accuracy"].values():
            assert ("more" in cell) == (row["recipe"] != "scope")


def test_controls_come_first_and_rows_are_ranked_by_the_smallest_budget() -> None:
    lines = [line for line in made().table(lambda name: ("yes", "1 of 2")).splitlines() if line.startswith("| [")]
    assert len(lines) == len(MEASURED["rows"])
    controls = [" * |" in line for line in lines]
    assert controls == sorted(controls, reverse=True)
    last = 1 + len(MEASURED["budgets"])
    shares = [float(line.split("|")[last].partition("±")[0]) for line in lines if " * |" not in line]
    assert shares == sorted(shares, reverse=True)
