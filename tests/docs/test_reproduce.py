"""The papers' tables in docs/reproduce: their specs run, and their numbers were copied right."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import scope_core as scope
from docs.pages import ROOT

HOME = ROOT / "docs" / "reproduce"
TABLES = sorted((HOME / "tables").glob("*.yaml"))
CONTROLS = {"random", "uniform_grid", "top_k_attention", "downsample"}
EACH = pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)

# averages as the papers print them, over the columns they average; a wrong digit in a row moves them
AVERAGES = {
    ("llava-1.5-7b", "a"): {
        "scope@192": 99.5, "scope@128": 98.1, "scope@64": 96.0,
        "visionzip@192": 98.0, "visionzip@128": 96.9, "visionzip@64": 93.5,
    },
    ("llava-1.5-7b", "c"): {
        "divprune@192": 98.0, "divprune@128": 96.9, "divprune@64": 94.8,
        "mmtok@192": 98.7, "mmtok@128": 97.8, "mmtok@64": 96.6,
    },
    ("llava-next-7b", "a"): {
        "scope@640": 98.9, "scope@320": 97.1, "scope@160": 95.1,
        "visionzip@640": 97.4, "visionzip@320": 95.0, "visionzip@160": 92.5,
    },
    ("llava-next-7b", "c"): {
        "divprune@640": 97.1, "divprune@320": 95.1, "divprune@160": 92.4,
        "mmtok@640": 98.7, "mmtok@320": 97.3, "mmtok@160": 95.1,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def papers() -> ModuleType:
    sys.path.insert(0, str(HOME))
    try:
        import papers

        yield papers
    finally:
        sys.path.remove(str(HOME))
        sys.modules.pop("papers", None)


@EACH
def test_every_cell_has_a_spec_that_keeps_what_its_row_says(path: Path, papers: ModuleType) -> None:
    table = papers.Table.read(path)
    assert table.text["strategies"]["full"] == "none"
    assert set(table.text["strategies"]) >= CONTROLS, "the controls are not optional"
    per_tile = table.text["tokens"] // 576
    for cell in table.cells(judged=True):
        spec = table.spec(cell)
        if cell.keep is None:
            assert spec == "none"
            continue
        plan = scope.Pruner(spec).plan(scope.Layout.of([[576] * per_tile, [576] * per_tile]))
        assert plan.images == (cell.keep, cell.keep)


@EACH
def test_published_rows_are_those_that_are_measured(path: Path, papers: ModuleType) -> None:
    table = papers.Table.read(path)
    assert {cell.row for cell in table.cells()} >= {row for it in table.text["published"] for row in it["rows"]}
    assert len({source["mark"] for source in table.text["published"]}) == len(table.text["published"])


@pytest.mark.parametrize(("name", "mark"), AVERAGES, ids=str)
def test_published_numbers_give_the_published_averages(name: str, mark: str) -> None:
    text = yaml.safe_load((HOME / "tables" / f"{name}.yaml").read_text("utf-8"))
    rows = next(source["rows"] for source in text["published"] if source["mark"] == mark)
    for row, wanted in AVERAGES[name, mark].items():
        shares = [100 * value / rows["full"][column] for column, value in rows[row].items()]
        assert sum(shares) / len(shares) == pytest.approx(wanted, abs=0.11), row


def test_scope_as_others_ran_it_gives_their_averages() -> None:
    """TOPS gives a mean of scores without MMB-CN here, so only that the printed scores are near SCOPE's own."""
    text = yaml.safe_load((HOME / "tables" / "llava-1.5-7b.yaml").read_text("utf-8"))
    own, others = (next(s["rows"] for s in text["published"] if s["mark"] == mark) for mark in "ad")
    shared = [
        (own[row][name], others[row][name]) for row in own if row in others for name in own[row] if name in others[row]
    ]
    assert len(shared) > 15
    assert all(abs(one - other) / one < 0.03 for one, other in shared)


def small(papers: ModuleType, path: Path, **changes: Any) -> Any:
    text = {
        "title": "Small",
        "pretrained": "somewhere",
        "tokens": 36,
        "budgets": [9],
        "strategies": {"full": "none", "scope": {"recipe": "scope"}},
        "columns": {
            "A": {"task": "one", "metrics": ["hits"], "times": 100},
            "B": {"task": "two", "metrics": ["x", "y"]},
            "C": {"task": "three", "metrics": ["z"], "judge": True},
        },
        "published": [{"mark": "p", "cite": "A paper", "rows": {"full": {"A": 80}, "scope@9": {"A": 70.5}}}],
        **changes,
    }
    path.write_text(yaml.safe_dump(text), "utf-8")
    return papers.Table.read(path)


def test_measured_and_published_stand_side_by_side(papers: ModuleType, tmp_path: Path) -> None:
    table = small(papers, tmp_path / "small.yaml")
    assert [str(cell) for cell in table.cells()] == ["full, one", "full, two", "scope@9, one", "scope@9, two"]
    assert len(table.cells(judged=True)) == 6
    full, kept = papers.Cell("full", None, "one"), papers.Cell("scope", 9, "one")
    report = table.report(
        {full: {"hits,none": 0.5}, kept: {"hits,none": 0.4}, papers.Cell("full", None, "two"): {"x": 3, "y": 4}}
    )
    lines = report.splitlines()
    assert lines[2] == "| full | 50.0 (80p) | 7.0 | - | 100.0% of 2 |"
    assert lines[3] == "| scope@9 | 40.0 (70.5p) | - | - | 80.0% of 1 |"
    assert "(p) A paper" in lines[-1]
    with pytest.raises(SystemExit, match="one gave"):
        table.report({full: {"misses,none": 0.5}})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"published": [{"mark": "p", "cite": "A paper", "rows": {"scope@8": {"A": 1}}}]}, "no row 'scope@8'"),
        ({"published": [{"mark": "p", "cite": "A paper", "rows": {"scope@9": {"D": 1}}}]}, "no column of {'D'}"),
        ({"budget": 9}, "unknown keys budget"),
    ],
)
def test_wrong_tables_are_refused(papers: ModuleType, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SystemExit, match=said):
        small(papers, tmp_path / "small.yaml", **changes)


def test_results_are_read_from_what_lmms_eval_writes(papers: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no result for pope"):
        papers.metrics_of(tmp_path, "pope")
    folder = tmp_path / "model"
    folder.mkdir()
    results = {"results": {"pope": {"alias": "pope", "pope_f1_score,none": 0.9, "pope_f1_score_stderr,none": "N/A"}}}
    (folder / "1_results.json").write_text(json.dumps(results), "utf-8")
    assert papers.metrics_of(tmp_path, "pope") == {"pope_f1_score,none": 0.9}
    with pytest.raises(SystemExit, match="no result for gqa"):
        papers.metrics_of(tmp_path, "gqa")
