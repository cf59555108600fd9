"""`scripts/matrix`: what it makes of its arguments, of pytest's report, and of an interpreter that is not there."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import toml_files

from docs.pages import ROOT

SCRIPT = ROOT / "scripts" / "matrix"


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module; it records into a folder of the test."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("scope_matrix", str(SCRIPT))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "RESULTS", tmp_path / "tested.json")
    return module


def row(passed: int, failed: int = 0) -> dict[str, object]:
    return {"passed": passed, "failed": failed, "skipped": 0, "seconds": 60, "date": "2026-01-01"}


def run(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["matrix", *words])
    return matrix.main()


def test_its_tests_exist() -> None:
    tests = toml_files.loads(SCRIPT.with_suffix(".toml").read_text("utf-8"))["tests"]
    missing = [
        path for paths in tests.values() for path in paths if not (ROOT / path.removeprefix("--ignore=")).exists()
    ]
    assert not missing


def test_rows_are_recorded_in_the_order_of_the_table_and_a_failure_is_the_exit_status(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    came = {"newest": row(5, 1), "floor": row(7), "5.0": subprocess.CalledProcessError(1, ["uv", "pip"])}

    def answer(name: str, *_: object) -> dict[str, object]:
        if isinstance(came[name], Exception):
            raise came[name]
        return came[name]

    monkeypatch.setattr(matrix, "_run", answer)
    assert run(matrix, monkeypatch, "newest", "5.0", "floor") == 1
    said = capsys.readouterr().out
    assert "row newest, 1 of 3; about 30 minutes left" in said
    assert "THE ROW 'newest' FAILED" in said
    assert "row 5.0: its environment could not be made; this failed: uv pip" in said
    assert "not run, without an environment: 5.0" in said
    assert "failed: newest" in said
    assert list(json.loads(matrix.RESULTS.read_text())) == ["floor", "newest"]
    assert run(matrix, monkeypatch, "floor", "--", "-k", "qwen") == 0
    assert run(matrix, monkeypatch, "--list") == 0
    assert "transformers newest, timm newest: 5 passed, 1 failed on 2026-01-01" in capsys.readouterr().out


def test_what_is_given_to_pytest_is_not_recorded(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(matrix, "_run", lambda *args: given.append(args[-1]) or row(1))
    assert run(matrix, monkeypatch, "floor", "--", "-k", "qwen") == 0
    assert given == [["-k", "qwen"]]
    assert not matrix.RESULTS.exists()


def test_a_row_without_a_passed_test_has_failed(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "_run", lambda *_: row(0))
    assert run(matrix, monkeypatch, "floor") == 1


def test_an_unknown_row(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run(matrix, monkeypatch, "flor")
    assert "there is no row called flor; the rows are base, floor, " in capsys.readouterr().err


def test_brief_runs_a_quick_part_and_records_nothing(matrix: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(matrix, "_run", lambda *given: asked.append(given[-1]) or row(3))
    assert run(matrix, monkeypatch, "--brief", "floor", "5.0", "base") == 0
    tests = toml_files.loads(SCRIPT.with_suffix(".toml").read_text("utf-8"))["tests"]
    assert asked == [tests["calls"], tests["few"], tests["core"]]
    assert not matrix.RESULTS.exists()


def test_a_report_is_counted(matrix: ModuleType, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>')
    assert matrix._counts(report) == {"passed": 3, "failed": 3, "skipped": 3}
    assert matrix._counts(tmp_path / "none.xml")["failed"] == 1


def test_an_interpreter_that_does_not_run_is_passed_over(
    matrix: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As pyenv's stand-ins do for versions that are not switched on."""
    folders = [tmp_path / name for name in ("broken", "older", "right")]
    for folder, says in zip(folders, ("exit 127", "echo 3.9", "echo 3.10"), strict=True):
        folder.mkdir()
        program = folder / "python3.10"
        program.write_text(f"#!/bin/sh\n{says}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))
    assert matrix._interpreter("3.10") == str(folders[2] / "python3.10")
    monkeypatch.setenv("PATH", str(folders[0]))
    monkeypatch.setattr(matrix, "_uv", lambda: "/bin/false")
    with pytest.raises(SystemExit, match=r"Python 3\.10 is not on PATH nor among pyenv's versions, and uv could not"):
        matrix._interpreter("3.10")
