"""The table of all methods: every recipe for images is in it or has a reason, and controls come first."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType

import scope_core as scope
from docs.pages import ROOT

FOLDER = ROOT / "docs" / "evidence" / "comparison"
MEASURED = json.loads((FOLDER / "results.json").read_text("utf-8"))


def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comparison_table", FOLDER / "table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_recipe_is_measured_or_has_a_reason() -> None:
    names = {record.name for record in scope.default_registry().records("recipe")}
    told = {row["recipe"] for row in MEASURED["rows"]} | set(MEASURED["left_out"])
    assert told <= names
    assert {"scope", "scope_plus", "random", "uniform_grid", "downsample"} <= {
        row["recipe"] for row in MEASURED["rows"]
    }


def test_controls_come_first_and_rows_are_ranked_by_the_smallest_budget() -> None:
    lines = [line for line in made().table(lambda name: ("yes", "1 of 2")).splitlines() if line.startswith("| [")]
    assert len(lines) == len(MEASURED["rows"])
    controls = [" * |" in line for line in lines]
    assert controls == sorted(controls, reverse=True)
    last = 1 + len(MEASURED["budgets"])
    shares = [float(line.split("|")[last].partition("±")[0]) for line in lines if " * |" not in line]
    assert shares == sorted(shares, reverse=True)
