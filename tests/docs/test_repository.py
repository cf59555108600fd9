"""What a code host and a maintainer read: workflows, hooks, forms, the citation, the pages beside the documentation."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import toml_files
import yaml

import scope_core as scope
from docs.pages import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PAGES = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "RELEASING.md", "CHANGELOG.md")]
PYPROJECT = toml_files.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ROWS = toml_files.loads((ROOT / "scripts" / "matrix.toml").read_text("utf-8"))["rows"]
ACTIONS = ("actions/checkout", "actions/setup-python", "actions/upload-artifact")


def read(path: Path) -> Any:
    """YAML as text alone: read otherwise, the key ``on`` of a workflow is True, and 3.10 is a number."""
    return yaml.load(path.read_text("utf-8"), yaml.BaseLoader)


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def runs(path: Path) -> list[str]:
    return [step["run"] for step in steps(path) if "run" in step]


def called(text: str) -> set[str]:
    """The scripts that a text calls."""
    return {name.removesuffix(".") for name in re.findall(r"(?<![\w/])scripts/([\w.-]+)", text)}


def id_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=id_of)
def test_a_workflow_calls_scripts_and_holds_no_checks_of_its_own(workflow: Path) -> None:
    for line in runs(workflow):
        assert called(line) or line == ".venv/bin/scope doctor", (
            f"{id_of(workflow)} runs {line!r}; put it into scripts/"
        )


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=id_of)
def test_a_workflow_may_read_only_and_ends(workflow: Path) -> None:
    given = read(workflow)
    assert given["permissions"] == {"contents": "read"}
    assert all(int(job["timeout-minutes"]) <= 120 for job in given["jobs"].values())
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert {use.partition("@")[0] for use in used} <= set(ACTIONS)
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@v\d+", use) for use in used)


def test_every_script_that_is_called_is_there_and_can_be_run() -> None:
    callers = [*WORKFLOWS, ROOT / ".ci" / "run", ROOT / ".pre-commit-config.yaml", *PAGES[:3]]
    names = {name: id_of(path) for path in callers for name in called(path.read_text("utf-8"))} | {"uv": "scripts/lock"}
    for name, caller in names.items():
        assert (ROOT / "scripts" / name).is_file(), f"{caller} calls scripts/{name}"
        assert name.endswith(".toml") or os.access(ROOT / "scripts" / name, os.X_OK), f"chmod +x scripts/{name}"
    unused = {path.name for path in (ROOT / "scripts").iterdir() if path.is_file()} - set(names)
    assert not unused, f"no caller and no page names scripts/{unused}"


def test_ci_and_the_workflows_call_the_same_scripts() -> None:
    ci = called((ROOT / ".ci" / "run").read_text("utf-8"))
    ours = {name for workflow in WORKFLOWS for line in runs(workflow) for name in called(line)}
    assert ours - {"test"} == ci  # README's second command is what scripts/test runs


def test_the_rows_are_written_in_one_place(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = read(ROOT / ".github" / "workflows" / "test.yml")["jobs"]
    assert jobs["rows"]["outputs"]["names"] == "${{ steps.read.outputs.names }}"
    (reading,) = (step for step in jobs["rows"]["steps"] if step.get("id") == "read")
    assert reading["run"] == 'echo "names=$(scripts/matrix --names)" >> "$GITHUB_OUTPUT"'
    assert jobs["row"]["needs"] == "rows"
    assert jobs["row"]["strategy"]["matrix"] == {"row": "${{ fromJSON(needs.rows.outputs.names) }}"}
    assert jobs["row"]["steps"][-1] == {"run": 'scripts/matrix "$ROW"', "env": {"ROW": "${{ matrix.row }}"}}
    monkeypatch.setattr(sys, "argv", ["matrix", "--names"])
    assert matrix(monkeypatch).main() == 0
    assert yaml.safe_load(capsys.readouterr().out) == list(ROWS)


def matrix(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = importlib.machinery.SourceFileLoader("scope_matrix", str(ROOT / "scripts" / "matrix"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def test_every_host_is_tested_each_night() -> None:
    said = "\n".join(runs(ROOT / ".github" / "workflows" / "nightly.yml"))
    hosts = re.findall(r"^    (\w+)\)$", (ROOT / "scripts" / "hosts").read_text("utf-8"), re.MULTILINE)
    assert sorted(hosts) == sorted(re.findall(r"scripts/hosts (\w+)", said))
    apart = {path.parent.name for path in (ROOT / "tests").glob("*/pytest.ini")}
    assert set(hosts) == apart, "tests with settings of their own are run by scripts/hosts"


def test_local_hooks_are_scripts() -> None:
    (local,) = (repo for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] if repo["repo"] == "local")
    assert [hook["entry"] for hook in local["hooks"]] == ["scripts/lint", "scripts/check"]
    for hook in local["hooks"]:
        assert (hook["language"], hook["pass_filenames"]) == ("system", "false")


@pytest.mark.parametrize("form", FORMS, ids=id_of)
def test_a_form_asks_under_ids_that_differ(form: Path) -> None:
    given = read(form)
    assert given["name"]
    assert given["description"]
    ids = [item["id"] for item in given["body"] if item["type"] != "markdown"]
    assert len(ids) == len(set(ids)) > 1
    for path in re.findall(r"docs/[\w-]+\.md", form.read_text("utf-8")):
        assert (ROOT / path).is_file(), path


def test_a_bug_comes_with_what_the_doctor_says() -> None:
    asked = {item.get("id"): item for item in read(ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml")["body"]}
    assert asked["doctor"]["attributes"]["label"] == "scope doctor --json"
    assert asked["doctor"]["validations"]["required"] == "true"


def test_the_citation_is_the_paper_that_the_recipe_names() -> None:
    cited = read(ROOT / "CITATION.cff")
    paper = cited["preferred-citation"]
    record = scope.default_registry().get("recipe", "scope")
    number = paper["url"].rpartition("/")[2]
    assert f"arXiv {number}" in record.item.paper
    assert f"{paper['conference']['name']}" in record.item.paper
    assert paper["identifiers"] == [{"type": "other", "value": f"arXiv:{number}"}]
    assert PYPROJECT["project"]["urls"]["Paper"] == paper["url"]
    assert cited["license"] == PYPROJECT["project"]["license"]
    assert "version" not in cited, "the version is in scope_core/version.py alone"


def test_the_version_is_written_once() -> None:
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"] == {"version": {"attr": "scope_core.version.__version__"}}
    assert f'__version__ = "{scope.__version__}"' in (ROOT / "scope_core" / "version.py").read_text("utf-8")


def test_the_classifiers_name_the_pythons_of_the_rows() -> None:
    named = {text.rpartition(" ")[2] for text in PYPROJECT["project"]["classifiers"] if "Python :: 3." in text}
    assert named == {row["python"] for row in ROWS.values()}


@pytest.mark.parametrize("page", PAGES, ids=id_of)
def test_pages_beside_the_documentation_link_to_what_is_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s#]+)\)", page.read_text("utf-8")):
        assert "://" in target or (ROOT / target).exists(), f"{page.name} links to {target}"


def test_each_change_is_one_line() -> None:
    """What is not released yet; what is, stays as it was."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8").partition("## [Unreleased]")[2].partition("\n## [")[0]
    for line in changes.split("\n"):
        assert line == "" or re.fullmatch(r"#{3,4} [\w, ]+|- .+\.", line), line
        assert len(line) <= 125, line
