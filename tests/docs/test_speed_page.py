"""The page on speed shows what its results say, and its runs are commands that exist."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType

import pytest

from docs.pages import ROOT
from docs.test_commands import check


@pytest.fixture(scope="module")
def speed() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_speed", ROOT / "docs" / "speed" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_what_the_results_say(speed: ModuleType) -> None:
    for path, results in speed.PAGES.items():
        page = path.read_text("utf-8")
        assert page == speed.filled(page, results), "run: python docs/speed/run.py --write"


def test_every_run_is_on_the_page_and_has_its_result(speed: ModuleType) -> None:
    page = next(iter(speed.PAGES)).read_text("utf-8")
    for name, words in speed.RUNS.items():
        assert f"<!-- speed: {name} -->" in page
        assert (speed.HERE / f"{name}.json").exists(), f"run: python docs/speed/run.py {name}"
        check(["bench", "speed", *words])


def test_each_page_has_the_results_of_its_folder(speed: ModuleType) -> None:
    for path, results in speed.PAGES.items():
        page = path.read_text("utf-8")
        assert all(f"<!-- speed: {file.stem} -->" in page for file in results.glob("*.json") if file.stem in speed.RUNS)


def test_a_result_takes_the_place_of_the_last(speed: ModuleType) -> None:
    name = next(iter(speed.RUNS))
    report = json.loads((speed.HERE / f"{name}.json").read_text("utf-8"))
    page = speed.filled(f"a\n<!-- speed: {name} -->\nold\n<!-- end -->\nb", speed.HERE)
    assert page == f"a\n<!-- speed: {name} -->\n{speed.shown(report)}<!-- end -->\nb"
    assert "old" not in page
