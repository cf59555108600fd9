"""Running the command line inside this process, and a few pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from scope_core.cli import app

FAKE_ZOO = Path(__file__).with_name("fake_zoo.py")


@dataclass(frozen=True)
class Ran:
    """One run of the program."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def words(self) -> str:
        """stdout with the line breaks of tables taken out."""
        return " ".join(self.stdout.split())


def run(*args: str | Path) -> Ran:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(arg) for arg in args], prog_name="scope")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ran(result.exit_code, result.stdout, " ".join(result.stderr.replace("│", " ").split()))


@pytest.fixture
def scope_() -> Callable[..., Ran]:
    """``scope_("list", "--json")`` runs that command."""
    return run


@pytest.fixture
def fake() -> Callable[..., Ran]:
    """The same, with the fake zoo."""

    def run_fake(*args: str | Path) -> Ran:
        return run("--plugin", FAKE_ZOO, *args)

    yield run_fake
    sys.modules.pop("scope_plugin_file_fake_zoo", None)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A colourful picture, 60 x 40."""
    path = tmp_path / "photo.png"
    Image.merge("RGB", [Image.linear_gradient("L").resize((60, 40)).rotate(90 * turn) for turn in range(3)]).save(path)
    return path


@pytest.fixture
def broken_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed distribution whose plugin raises on import."""
    info = tmp_path / "site" / "acme_pruning-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pruning\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[scope_core]\nacme = acme_broken\n")
    (tmp_path / "site" / "acme_broken.py").write_text("raise ImportError('no luck')")
    monkeypatch.syspath_prepend(tmp_path / "site")
