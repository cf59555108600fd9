"""The cache folder, atomic writes, and what killed processes leave behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from scope_core import ZooError, folders
from scope_core.adapters import cache_folder, remove_leftovers, replacing, sole_user

fcntl = pytest.importorskip("fcntl")


def test_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder().is_relative_to(Path.home())
    assert cache_folder().name == "scope-core"


@pytest.mark.parametrize(("given", "used"), [("/some/where", True), ("some/where", False), ("", False)])
def test_the_usual_variable_moves_it(given: str, used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert (cache_folder() == Path("/some/where/scope-core")) is used


def test_no_home_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(folders.Path, "home", no_home)
    with pytest.raises(ZooError, match="set XDG_CACHE_HOME, or give cache_dir"):
        cache_folder()


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()

    def half() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        half()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(OSError, match=r"Not a directory|exists"), replacing(path / "below"):
        pass


HOLD = """
    import sys, time
    from pathlib import Path
    from scope_core.adapters import sole_user

    folder = Path(sys.argv[1])
    with sole_user(folder) as alone:
        (folder / "scratch").mkdir()
        (folder / "scratch" / "part").write_bytes(b"half")
        print(alone, flush=True)
        time.sleep(60)
"""


def test_what_a_process_works_on_is_kept_until_it_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        assert holder.stdout.readline() == b"True\n"
        remove_leftovers(tmp_path, "scra*")
        assert (tmp_path / "scratch" / "part").exists()
        told: list[int] = []
        with sole_user(tmp_path, wait=0.3, waiting=lambda: told.append(1)) as alone:
            assert (alone, told) == (False, [1])
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    remove_leftovers(tmp_path, "other*")
    assert (tmp_path / "scratch").exists()
    remove_leftovers(tmp_path, "scra*")
    assert list(tmp_path.iterdir()) == []


def test_young_files_and_missing_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, young = tmp_path / "old.part", tmp_path / "young.part"
    for path in (old, young):
        path.write_text("")
    os.utime(old, (time.time() - 7200,) * 2)
    remove_leftovers(tmp_path, "*.part", age=3600)
    assert list(tmp_path.iterdir()) == [young]
    remove_leftovers(tmp_path / "missing", "*.part")
    remove_leftovers(Path("/dev/null/x"), "*.part")

    def busy(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks here")

    monkeypatch.setattr(fcntl, "flock", busy)  # whether it is in use cannot be found out
    remove_leftovers(tmp_path, "*.part")
    assert young.exists()
    with sole_user(tmp_path) as alone:
        assert not alone
