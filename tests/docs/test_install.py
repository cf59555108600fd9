"""What README.md installs is what was tested, and the versions that are promised are among those that are tested."""

from __future__ import annotations

import re

import pytest

from docs.pages import ROOT
from scope_core.cli.advice import allows, numbers

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings the same under this name
    import tomli as tomllib

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
MATRIX = tomllib.loads((ROOT / "scripts" / "matrix.toml").read_text("utf-8"))
LOCKS = {"locked": ("test", "dev"), "web": ("web", "browser")}
"""The lists of exact versions, each with the extra and the group that it is made of."""


def lines(lock: str) -> list[str]:
    text = (ROOT / "constraints" / f"{lock}.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line[:1] != "#"]


def name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def asked(extra: str) -> list[str]:
    """What an extra asks for, those it is made of included."""
    found = []
    for text in PROJECT["optional-dependencies"][extra]:
        inner = re.match(r"scope-core\[(.*)\]", text)
        found += [other for part in inner[1].split(",") for other in asked(part)] if inner else [text]
    return found


def grouped(group: str) -> list[str]:
    """What a dependency group asks for, those it includes too."""
    return [
        text
        for item in GROUPS[group]
        for text in (grouped(item["include-group"]) if isinstance(item, dict) else [item])
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_exact_versions_and_nothing_of_the_machine_that_wrote_it(lock: str) -> None:
    wrong = [line for line in lines(lock) if not re.fullmatch(r"[a-z0-9.-]+==[^ /:@]+( ; [^/@]+)?", line)]
    assert not wrong


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_everything_that_the_commands_ask_for(lock: str) -> None:
    extra, group = LOCKS[lock]
    locked: dict[str, list[str]] = {}
    for line in lines(lock):
        locked.setdefault(name(line), []).append(re.search(r"==([^ ]+)", line)[1])
    for requirement in [*PROJECT["dependencies"], *asked(extra), *grouped(group)]:
        versions = locked.get(name(requirement), [])
        assert versions, f"{requirement} is not locked; run scripts/lock"
        assert all(allows(requirement, version) for version in versions), f"{requirement}: locked {versions}"


@pytest.mark.parametrize("mark", ["run", "test"])
def test_the_commands_install_the_locked_versions(mark: str) -> None:
    block = (ROOT / "README.md").read_text("utf-8").partition(f"<!-- command:{mark} -->")[2].partition("```\n")[0]
    assert "pip install -q -c constraints/locked.txt -e " in block


def test_what_scripts_install_is_what_the_lock_is_made_of() -> None:
    for script in ("install", "lock"):
        text = (ROOT / "scripts" / script).read_text("utf-8")
        assert re.search(r"(\[test\]\"|--extra test) --group dev\b", text), script


def test_groups_are_for_checkouts_and_extras_for_users() -> None:
    """What nobody needs who only uses the package is in no user's metadata; README's commands know extras alone."""
    tools = {name(text) for group in GROUPS for text in grouped(group)}
    assert not tools & {name(text) for extra in PROJECT["optional-dependencies"] for text in asked(extra)}
    assert "--group" not in (ROOT / "README.md").read_text("utf-8")


def test_the_lowest_row_of_the_matrix_is_what_the_package_asks_for() -> None:
    """A lower bound that no row runs is a promise that nobody keeps."""
    floor = MATRIX["rows"]["base"]
    bounds = {name(text): text for text in (*PROJECT["dependencies"], *asked("hf"), *asked("timm"))}
    for package in ("torch", "transformers", "timm"):
        least = re.search(r">=([\d.]+)", bounds[package])[1]
        assert allows(bounds[package], floor[package])
        assert numbers(floor[package])[:2] == numbers(least)[:2], f"{package} >= {least}, but base has {floor[package]}"
    assert PROJECT["requires-python"] == f">={floor['python']}"


def test_the_newest_row_pins_nothing() -> None:
    assert set(MATRIX["rows"]["newest"]) <= {"python", "tests"}


def test_rows_name_groups_of_tests_that_are_there_and_ci_names_rows_that_are_there() -> None:
    named = {row[key] for row in MATRIX["rows"].values() for key in ("tests", "brief") if key in row}
    assert named <= set(MATRIX["tests"])
    lines = re.findall(r"^scripts/matrix (?:--brief )?(.+)$", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    assert {"floor", "newest"} < set(" ".join(lines).split()) <= set(MATRIX["rows"])
