"""The cache folder, and how files in it are written: whole or not at all, by several processes at once."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scope_core.errors import ZooError

DAY = 86_400.0
"""Age in seconds after which leftovers are deleted even where it cannot be found out whether they are in use."""


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/scope-core``, or the folder for caches below the user's home. It may not exist yet.

    Raises:
        ZooError: there is neither.
    """
    if (given := Path(os.environ.get("XDG_CACHE_HOME", ""))).is_absolute():  # a relative one is invalid
        return given / "scope-core"
    below = {"darwin": "Library/Caches", "win32": "AppData/Local"}.get(sys.platform, ".cache")
    try:
        return Path.home() / below / "scope-core"
    except RuntimeError as error:
        raise ZooError(
            "there is no folder for caches, since the user has no home folder; set XDG_CACHE_HOME, or give cache_dir "
            "(on the command line: --cache-dir)"
        ) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file next to ``path`` to write to, which replaces it if no error occurs.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def sole_user(folder: Path, *, wait: float = 0.0, waiting: Callable[[], None] | None = None) -> Iterator[bool]:
    """True if no other process is inside this block for this folder.

    The lock is the operating system's: it ends with the process, and leaves no file.

    Args:
        folder: An existing folder.
        wait: Seconds to wait for another process; then the result is False.
        waiting: Called once before waiting.
    """
    handle, end = _opened(folder), time.monotonic() + wait
    try:
        while not (alone := _locked(handle)) and handle is not None and time.monotonic() < end:
            if waiting is not None:
                waiting()
                waiting = None
            time.sleep(0.1)
        yield alone
    finally:
        if handle is not None:
            os.close(handle)


def remove_leftovers(folder: Path, pattern: str, *, age: float = 0.0) -> None:
    """Delete what killed processes left in ``folder``; what a process in `sole_user` works on is kept.

    Args:
        folder: The folder; it may be missing or read-only.
        pattern: Pattern of names.
        age: Seconds since the last change, for files whose writers are not in `sole_user`.
    """
    with suppress(OSError):
        found = [(path, time.time() - path.stat().st_mtime) for path in folder.glob(pattern)]
        if not found:
            return
        with sole_user(folder) as alone:
            for path, since in found:
                if since >= (age if alone else max(age, DAY)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _opened(folder: Path) -> int | None:
    try:
        import fcntl  # noqa: F401

        return os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):  # Windows, or a folder that may not be read
        return None


def _locked(handle: int | None) -> bool:
    if handle is None:
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # another process has it, or the file system has no locks
        return False
    return True
