"""`scripts/bench-compare`: its table, its environment, and what it refuses. Nothing is timed."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from docs.pages import ROOT

SCRIPT = ROOT / "scripts" / "bench-compare"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("scope_bench_compare", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_medians_over_turns_of_what_both_commits_have(script: ModuleType) -> None:
    result = {"benchmarks": [{"name": "test_plan[a]", "stats": {"median": 0.002}}]}
    assert script.medians(result) == {"plan[a]": 2.0}
    before = [{"plan": 2.0, "old": 1.0}, {"plan": 4.0, "old": 1.0}, {"plan": 3.0, "old": 1.0}]
    after = [{"plan": 6.0, "new": 1.0}, {"plan": 1.0, "new": 1.0}, {"plan": 1.5, "new": 1.0}]
    head, row = script.table(before, after, ["main", "HEAD"])
    assert head.startswith("A: main   B: HEAD   ms, median (lowest-highest) of 3 turns")
    assert row.split() == ["plan", "3.000", "(2.000-4.000)", "1.500", "(1.000-6.000)", "B/A", "0.50"]
    assert script.table([{"a": 1.0}], [{"b": 1.0}], ["x", "y"])[1:] == ["no benchmark is in both"]


def test_a_commit_is_measured_on_its_own_files(script: ModuleType, tmp_path: Path) -> None:
    for package in ("scope_core", "plugins/scope_bench"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").touch()
    names = "scope_core", "scope_bench"
    code = f"import {', '.join(names)}; print(*(m.__file__ for m in ({', '.join(names)})))"
    command, environment = [sys.executable, "-c", code], script.environment(tmp_path)
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout.count(str(tmp_path)) == 2
    assert script.environment(tmp_path)["OMP_NUM_THREADS"] == "1"


def test_an_unknown_commit_and_no_rounds(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, message in (
        (["HEAD", "no-such-commit"], "there is no commit 'no-such-commit'"),
        (["HEAD", "HEAD", "--rounds", "0"], "--rounds must be at least 1"),
    ):
        monkeypatch.setattr(sys, "argv", ["bench-compare", *words])
        with pytest.raises(SystemExit) as ended:
            script.main()
        assert ended.value.code == 2
        assert message in capsys.readouterr().err
