"""Every documented exit code, and that no mistake of a user and no state of a machine ends with 70 or a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import FAKE_ZOO, Ran
from scope_core.cli.commands import photos
from scope_core.cli.shell import Code


def process(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A real process of the program."""
    return subprocess.run(
        [sys.executable, "-m", "scope_core", *args],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 120, **options},
    )


def test_every_code_is_documented() -> None:
    page = Path("docs/command-line.md").read_text(encoding="utf-8")
    table = page.split("<!-- generated: exit-codes -->")[1].split("<!-- end -->")[0]
    assert [int(line.split("|")[1]) for line in table.strip().splitlines()[2:]] == list(Code)


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["photos"], 0),
        (["validate", "scpoe@64"], 1),
        (["lst"], 2),
        (["explain"], 2),
        (["explain", "scpoe@64"], 3),
        (["select", "/dev/null/x.png", "--tower", "fake-tower"], 4),
        (["select", "/dev/zero", "--tower", "fake-tower"], 4),
        (["explain", "scope@64", "--out", "/dev/full"], 4),
        (["schema", "--out", "/dev/full"], 4),
        (["select", "demo:coffee", "--tower", "fake-buggy"], 70),
    ],
)
def test_codes_of_commands(fake: Callable[..., Ran], args: list[str], code: int) -> None:
    ran = fake(*args)
    assert ran.code == code, ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("args", [["list"], ["schema"], ["photos"], ["--version"], ["--help"]])
def test_a_full_disk_for_the_output_is_4(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ran = process(*args, stdout=full)
        silent = process(*args, stdout=full, stderr=full)
    assert (ran.returncode, silent.returncode) == (4, 4)
    assert ran.stderr == "error: a file or the output cannot be read or written: No space left on device\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_a_machines_trouble_anywhere_is_4_and_names_the_file(
    fake: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(rows: object) -> None:
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(photos, "show_json", fails)
    ran = fake("photos", "--json")
    assert ran.code == 4
    assert ran.stderr == f"error: '/some/file' cannot be read or written: {os.strerror(number)}"


def test_another_error_of_the_system_is_a_bug(fake: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(rows: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(photos, "show_json", fails)
    assert fake("photos", "--json").code == 70


HOMES = {
    "read-only": {"HOME": "/dev/null", "XDG_CACHE_HOME": ""},
    "cache below a file": {"XDG_CACHE_HOME": "/dev/null/x"},
    "no home": {"HOME": None, "XDG_CACHE_HOME": None},
}


@pytest.mark.parametrize("home", HOMES)
def test_commands_work_without_a_usable_home(home: str) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "NUMBA_CACHE_DIR": "/dev/null/x"}
    env = {**env, **{name: value for name, value in HOMES[home].items() if value is not None}}
    for name, value in HOMES[home].items():
        if value is None:
            env.pop(name, None)
    listed = process("models", "list", "--json", env=env)
    assert listed.returncode == 0, listed.stderr
    shown = process(
        "select", "demo:coffee", "--plugin", str(FAKE_ZOO), "--tower", "fake-tower", "--spec", "scope@9", env=env
    )
    assert shown.returncode == 0, shown.stderr
    assert "Traceback" not in shown.stderr


def test_weights_that_cannot_be_stored_are_4(scope_: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/x")
    ran = scope_("models", "fetch", "dinov2-small")
    assert ran.code == 4
    assert "/dev/null/x/scope-core/dinov2-small.safetensors cannot be read or written" in ran.stderr
    assert "set XDG_CACHE_HOME" in ran.stderr
