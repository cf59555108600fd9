"""The page of evidence says what was measured, and its command could measure it again."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from bench.accuracy.test_report import BLIND, FULL, ORACLE, made_up

import scope_core as scope
from docs.pages import ROOT
from scope_bench.accuracy.methods import SHUFFLED
from scope_bench.accuracy.report import results_of


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_evidence", ROOT / "docs" / "evidence" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_results_say(evidence: ModuleType) -> None:
    wanted = evidence.filled(evidence.TEMPLATE.read_text("utf-8"), evidence.measured())
    assert evidence.PAGE.read_text("utf-8") == wanted, "run: python docs/evidence/run.py --write"


def test_every_spec_of_the_runs_is_there(evidence: ModuleType) -> None:
    registry = scope.default_registry()
    for options in evidence.RUNS.values():
        for text in options[1].split(","):
            path = ROOT / text
            spec = scope.Pruner(path if path.suffix else f"{text}@64", registry=registry).spec
            assert spec.budget.keep == 64
    files = {path.stem for path in (ROOT / "docs" / "evidence" / "specs").iterdir()}
    assert files == {path.split("/")[-1].removesuffix(".yaml") for path in evidence.ABLATION.split(",")}


def test_every_claim_is_about_two_methods_of_its_run(evidence: ModuleType) -> None:
    for claim, run, *names in evidence.CLAIMS:
        entered = [text.split("/")[-1].removesuffix(".yaml") for text in evidence.RUNS[run][1].split(",")]
        assert set(names) <= set(entered), claim


def test_verdicts(evidence: ModuleType) -> None:
    found = {"interval": (0.011, 0.052), "difference": 0.03, "separated": True}
    assert evidence.verdict(found) == "yes: +3.0 (+1.1 .. +5.2)"
    assert evidence.verdict({**found, "separated": False}).startswith("not separated: +3.0")
    turned = {"interval": (-0.052, -0.011), "difference": -0.03, "separated": True}
    assert evidence.verdict(turned) == "the other way: -3.0 (-5.2 .. -1.1)"


def test_what_is_not_drawn_lies_under_a_line_that_is(evidence: ModuleType) -> None:
    runs = evidence.measured()["ablation"]["runs"]
    right = {name: [run["accuracy"] for run in runs if run["name"] == name] for name in ("alpha-0", "coverage-only")}
    assert evidence.NOT_DRAWN == ("alpha-0",)
    assert right["alpha-0"] == right["coverage-only"] != []


def test_pictures_have_a_colour_for_everybody(evidence: ModuleType) -> None:
    for found in evidence.measured().values():
        names = {run["name"] for run in found["runs"] if run["role"] != "bound"} - set(evidence.NOT_DRAWN)
        assert names <= set(evidence.COLOURS)
        assert len({evidence.COLOURS[name] for name in names}) == len(names)


def test_a_page_of_made_up_results(evidence: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """SCOPE answers everything, alpha 2 nothing, everybody else a half."""
    keeps = (192, 128, 64, 32, 16)
    bounds = {FULL: [4], SHUFFLED: [1], BLIND: [0], ORACLE: [4]}
    results = {}
    for name, options in evidence.RUNS.items():
        names = [text.split("/")[-1].removesuffix(".yaml") for text in options[1].split(",")]
        right = {text: [{"scope": 4, "alpha-2": 0}.get(text, 2)] for text in names}
        results[name] = results_of(made_up({**right, **bounds}, keeps))
    monkeypatch.setattr(evidence, "SOUND", tuple(results["strategies"]["kinds"])[:1])
    page = evidence.filled(evidence.TEMPLATE.read_text("utf-8"), results)
    assert not re.search(r"-->\n<!-- end -->", page), "a place is empty"
    row = next(line for line in page.splitlines() if line.startswith("| SCOPE more than random tokens"))
    assert row.count("yes: +50.0") == 3
    row = next(line for line in page.splitlines() if line.startswith("| alpha 1 more than 0.5"))
    assert row.count("not separated: 0.0 (0.0 .. 0.0)") == 3
    row = next(line for line in page.splitlines() if line.startswith("| alpha 1 more than 2"))
    assert row.count("yes: +50.0") == 3
