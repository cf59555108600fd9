"""The test of a part is where its name says: of <kind>/<name>.py, it is tests/plugins/<kind>/test_<name>.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from architecture.sources import PACKAGES, ROOT

KINDS = sorted(
    folder.name
    for folder in PACKAGES["scope_plugins"].iterdir()
    if (folder / "__init__.py").exists() and folder.name != "recipes"  # recipes are tested by families of methods
)
TESTS = ROOT / "tests" / "plugins"
TOGETHER = "test_together.py"
"""The name of a file that tests what several parts of a kind share."""


def parts(kind: str) -> set[str]:
    """Names of the files (or folders) of a kind that hold a part."""
    folder = PACKAGES["scope_plugins"] / kind
    found = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return {name for name in found if not name.startswith("_")}


def test_kinds_have_parts() -> None:
    assert len(KINDS) >= 12
    assert all(map(parts, KINDS))


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_has_a_test_file_of_its_name(kind: str) -> None:
    wanted = {TESTS / kind / f"test_{name}.py" for name in parts(kind)}
    missing = sorted(str(path.relative_to(ROOT)) for path in wanted if not path.exists())
    assert not missing, f"write {', '.join(missing)}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_test_file_is_of_a_part_and_has_a_test(kind: str) -> None:
    files: list[Path] = sorted((TESTS / kind).glob("test_*.py"))
    other = [path.name for path in files if path.stem.removeprefix("test_") not in parts(kind)]
    assert not set(other) - {TOGETHER}, f"{kind} has no part of these names"
    assert all("def test_" in path.read_text(encoding="utf-8") for path in files)
