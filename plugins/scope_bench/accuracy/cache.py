"""Files that benchmarks keep on disk: outputs of towers, and replies of models. All can be deleted."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scope_core import ZooError
from scope_core.adapters import cache_folder, remove_leftovers, replacing

logger = logging.getLogger(__name__)

GIGABYTE = 1 << 30


OLD = 3600.0
"""Age in seconds of a half-written file that a killed process must have left."""


def default_folder() -> Path | None:
    """The user's cache folder; None, with a warning, if there is none."""
    try:
        return cache_folder()
    except ZooError as error:
        warnings.warn(f"{error}. Features and replies are not kept", stacklevel=2)
        return None


_TOLD: set[Path] = set()
"""Cache folders that were warned of."""


def warn_unkept(path: Path, error: Exception) -> None:
    """Warn, once, that ``path``, a file in a folder of the cache folder, cannot be used."""
    folder = path.parent.parent
    if folder in _TOLD:
        return
    _TOLD.add(folder)
    reason = (error.strerror or error) if isinstance(error, OSError) else "files are cut short, as on a full disk"
    warnings.warn(
        f"'{folder}' cannot be read or written: {reason}. Features and replies that are not there are not kept, and an "
        f"interrupted run starts anew; choose another folder with --cache-dir, or use --no-cache",
        stacklevel=2,
    )


class TensorCache:
    """A `Memo` on disk, with the latest tensors in memory; the oldest files are deleted if it grows too large.

    If the folder cannot be used, tensors are kept in memory only, with a warning.

    Args:
        folder: Folder of the files, created when the first is written; None keeps tensors in memory only.
        limit: Largest number of bytes on disk.
        memory: Largest number of bytes in memory.
    """

    def __init__(self, folder: Path | None, *, limit: int = 4 * GIGABYTE, memory: int = GIGABYTE // 4) -> None:
        self.folder, self.limit, self.memory = folder, limit, memory
        self.held: OrderedDict[str, Tensor] = OrderedDict()
        self.on_disk: int | None = None
        if folder is not None:
            remove_leftovers(folder, "*.part", age=OLD)

    def get(self, key: str) -> Tensor | None:
        """The tensor of ``key``, or None; a damaged file counts as missing."""
        if key in self.held:
            self.held.move_to_end(key)
            return self.held[key]
        path = self._path(key)
        try:
            if path is None or not path.is_file():
                return None
            tensor: Tensor = torch.load(path, weights_only=True, map_location="cpu")
            os.utime(path)
        except Exception as error:  # the kind of error depends on where the file is damaged
            logger.warning("%s cannot be read and is computed again: %s", path, error)
            return None
        self._hold(key, tensor)
        return tensor

    def put(self, key: str, tensor: Tensor) -> None:
        """Keep ``tensor`` in memory and on disk."""
        tensor = tensor.detach().cpu().clone()
        self._hold(key, tensor)
        path = self._path(key)
        if path is None:
            return
        try:
            with replacing(path) as part:
                torch.save(tensor, part)
            if self.on_disk is None:
                self.on_disk = sum(size for _, size, _ in self._files())
            else:
                self.on_disk += path.stat().st_size
            if self.on_disk > self.limit:
                self._shrink()
        except (OSError, RuntimeError) as error:  # torch raises the latter on a full disk
            warn_unkept(path, error)
            self.folder = None

    def _hold(self, key: str, tensor: Tensor) -> None:
        self.held[key] = tensor
        while len(self.held) > 1 and sum(held.nbytes for held in self.held.values()) > self.memory:
            self.held.popitem(last=False)

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{key}.pt"

    def _files(self) -> list[tuple[float, int, Path]]:
        """(time of the last use, size, file), the oldest first; another process may delete files meanwhile."""
        found = []
        for file in [] if self.folder is None else self.folder.glob("*.pt"):
            with suppress(OSError):
                found.append((file.stat().st_mtime, file.stat().st_size, file))
        return sorted(found)

    def _shrink(self) -> None:
        """Delete the least recently used files until a tenth of the limit is free."""
        files = self._files()
        total = sum(size for _, size, _ in files)
        for _, size, file in files:
            if total <= 0.9 * self.limit:
                break
            file.unlink(missing_ok=True)
            total -= size
        self.on_disk = total


class Journal:
    """The rows of a method, one line of JSON for each example; an interrupted run can continue from it.

    If the file cannot be used, rows are kept in memory only, with a warning.

    Args:
        path: The file; None keeps rows in memory only.
        fresh: Discard existing rows.
    """

    def __init__(self, path: Path | None, *, fresh: bool = False) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        if path is None:
            return
        try:
            remove_leftovers(path.parent, "*.part", age=OLD)
            if fresh:
                path.unlink(missing_ok=True)
            elif path.is_file():
                self._read(path)
        except OSError as error:
            self._give_up(path, error)

    def _read(self, path: Path) -> None:
        whole = path.read_bytes().rpartition(b"\n")[0]  # drops a last line that an interruption cut short
        for line in whole.splitlines():
            row = _row(line)
            if row is not None:
                self.rows[row["example"]] = row
        if path.stat().st_size != len(whole) + (1 if whole else 0):
            with replacing(path) as part:
                part.write_bytes(whole + b"\n" if whole else b"")

    def _give_up(self, path: Path, error: OSError) -> None:
        warn_unkept(path, error)
        self.path = None

    def get(self, example: str, asked: str) -> dict[str, Any] | None:
        """The row of an example, or None if its questions have changed (by their digest ``asked``)."""
        row = self.rows.get(example)
        return row if row is not None and row["asked"] == asked else None

    def add(self, row: dict[str, Any]) -> None:
        """Add a row and write it."""
        self.rows[row["example"]] = row
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            self._give_up(self.path, error)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and {"example", "asked", "replies"} <= set(row) else None


def digest(data: Any) -> str:
    """A short hash of plain data."""
    return hashlib.blake2b(json.dumps(data, sort_keys=True, default=str).encode(), digest_size=12).hexdigest()


def weights_of(model: Any) -> str:
    """A hash of a model's weights: all entries of small tensors, every 4097th entry of large ones.

    This is quick for models of any size, and trained models differ in nearly every entry.
    """
    state = hashlib.blake2b(digest_size=12)
    for name, tensor in sorted(model.state_dict().items()):
        if not isinstance(tensor, Tensor):
            continue
        sample = tensor.detach().flatten()
        sample = sample if sample.numel() <= 65_536 else sample[::4097]
        state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        state.update(sample.cpu().clone(memory_format=torch.contiguous_format).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def code_of(parts: Iterator[Any] | list[Any]) -> str:
    """A hash of the source files of parts: of all files in the folders of their modules, or of single files."""
    files: set[Path] = set()
    for part in parts:
        for kind in type(part).__mro__:
            module: Any = sys.modules.get(kind.__module__)
            file = getattr(module, "__file__", None)
            if file and not kind.__module__.startswith(("builtins", "abc", "typing", "scope_core.")):
                path = Path(file)
                files |= set(path.parent.glob("*.py")) if module.__package__ else {path}
    return digest({path.name: hashlib.blake2b(path.read_bytes()).hexdigest() for path in sorted(files)})


def file_name(facts: Mapping[str, Any]) -> str:
    """A readable file name, unique to these facts."""
    words = "-".join(re.sub(r"[^a-z0-9.]+", "_", str(facts[key]).lower()) for key in ("model", "task", "split", "name"))
    return f"{words[:80]}-{digest(dict(facts))}.jsonl"
