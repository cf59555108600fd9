"""docs/reproduce/run.py from end to end, on a tiny checkpoint and a local task."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from commands import LIMIT_S, Commands

RUN = Path(__file__).resolve().parents[2] / "docs" / "reproduce" / "run.py"
TABLE = {
    "title": "Tiny",
    "pretrained": "nobody/nothing",
    "model_args": {"dtype": "float32"},
    "arguments": ["--force_simple"],
    "tokens": 36,
    "budgets": [7],
    "strategies": {"full": "none", "scope": {"recipe": "scope"}},
    "columns": {"F1": {"task": "local_yes_no", "metrics": ["pope_f1_score"], "times": 100}},
    "published": [{"mark": "p", "cite": "nobody", "rows": {"full": {"F1": 12.5}}}],
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("table") / "tiny.yaml"
    file.write_text(yaml.safe_dump(TABLE), "utf-8")
    return file


@pytest.fixture(scope="module")
def run(table: Path, commands: Commands, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("reproduced")

    def ran(*more: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(RUN), str(table), "--out", str(out), "--device", "cpu", *more]
        line += ["--include-path", str(commands.tasks)]
        return subprocess.run(line, capture_output=True, text=True, env=commands.environment, timeout=LIMIT_S)

    ran.out = out / "tiny"
    return ran


def test_a_table_is_measured_once_and_resumed(run, llava: Path) -> None:
    here = ("--pretrained", str(llava))
    dry = run(*here, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.count("-m lmms_eval --model scope_llava_hf") == 2
    assert "pruner=scope@7" in dry.stdout
    assert "2 of 2 evaluations to run" in dry.stdout
    assert not list(run.out.rglob("*.json"))

    first = run(*here)
    assert first.returncode == 0, first.stdout + first.stderr
    kept = json.loads((run.out / "scope@7" / "local_yes_no.json").read_text("utf-8"))
    full = json.loads((run.out / "full" / "local_yes_no.json").read_text("utf-8"))
    assert (kept["receipts"][0]["spec"], kept["receipts"][0]["tokens"], kept["receipts"][0]["kept"]) == (
        "scope@7",
        216,
        42,
    )
    assert (full["receipts"][0]["spec"], full["receipts"][0]["images"]) == (None, 6)
    scores = [100 * it["metrics"]["pope_f1_score,none"] for it in (full, kept)]
    assert scores[0] != scores[1]
    report = (run.out / "table.md").read_text("utf-8")
    assert report in first.stdout
    assert f"| full | {scores[0]:.1f} (12.5p) | 100.0% of 1 |" in report
    assert f"| scope@7 | {scores[1]:.1f} | {100 * scores[1] / scores[0]:.1f}% of 1 |" in report

    (run.out / "scope@7" / "local_yes_no.json").rename(run.out / "aside.json")
    assert "1 of 2 evaluations to run, 1 are there" in run(*here, "--dry-run").stdout
    assert "2 of 2 evaluations to run" in run(*here, "--dry-run", "--limit", "2").stdout, (
        "another limit, another result"
    )
    (run.out / "aside.json").rename(run.out / "scope@7" / "local_yes_no.json")
    again = run(*here, "--report")
    assert again.stdout == report + "\n"


def test_missing_weights_are_told_at_once(run) -> None:
    done = run()
    assert done.returncode == 1
    assert "the weights of nobody/nothing were not found" in done.stderr
    assert "hf download nobody/nothing" in done.stderr
    assert "--pretrained FOLDER" in done.stderr


def test_a_cell_that_fails_shows_its_log_and_leaves_no_result(run, llava: Path) -> None:
    done = run("--pretrained", str(llava), "--model-args", "pruner2=1", "--strategies", "scope")
    assert done.returncode == 1
    assert "scope@7, local_yes_no: lmms-eval ended with status 1" in done.stderr
    assert "there is no model argument 'pruner2'" in done.stderr
    assert "command:" in done.stderr


def test_names_that_are_not_in_the_table_are_refused(run) -> None:
    done = run("--columns", "POPE")
    assert done.returncode == 1
    assert "--columns: ['POPE'] not in tiny; there are ['F1']" in done.stderr
