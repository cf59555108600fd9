"""Counters for Prometheus, on the server's own ``/metrics``.

vLLM encodes images in other processes than the one that serves ``/metrics``. Each of them keeps its sums in its own
file, in a folder that the engine's config names (`KEY`; `scope serve` sets it); the server adds them up on request.
Without the folder nothing is counted. Images that vLLM takes from its cache are not encoded and not counted.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import multiprocessing
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KEY = "visual_pruner_metrics"
"""The key of the folder in ``hf_overrides``."""

COUNTERS = (
    ("scope_images", "Images whose visual tokens were selected"),
    ("scope_visual_tokens_in", "Visual tokens of these images before selection"),
    ("scope_visual_tokens_kept", "Visual tokens of these images that the language model reads"),
    ("scope_selection_seconds", "Time spent on selection, without the vision tower"),
)
"""(name, meaning), in the order of a file's numbers; Prometheus appends ``_total`` to each name."""

_NUMBERS = struct.Struct(f"<{len(COUNTERS)}d")
_SUFFIX = ".counts"

log = logging.getLogger(f"vllm.{__package__}")


def record(folder: str, *, images: int, tokens: int, kept: int, seconds: float) -> None:
    """Add one call of the encoder to this process's sums; does nothing for an empty ``folder``.

    Never raises, since a full disk must not end the engine; logs a warning instead.
    """
    if not folder:
        return
    path = Path(folder) / f"{os.getpid()}{_SUFFIX}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sums = [old + new for old, new in zip(_read(path), (images, tokens, kept, seconds), strict=True)]
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(_NUMBERS.pack(*sums))
        fresh.replace(path)  # atomic: a reader gets the old sums or the new ones
    except OSError as error:
        log.warning("the counters in %s could not be updated: %s", folder, error)


def expose(folder: str) -> None:
    """Show the sums of all processes that write into ``folder`` on this process's ``/metrics``.

    Does nothing for an empty ``folder``; calling it again changes nothing. When the server ends, the files are removed,
    and the folder if nothing else is in it.
    """
    if folder and Path(folder) not in (shown := _collector().folders):
        shown.append(Path(folder))
        if multiprocessing.parent_process() is None:  # the server itself, not one of its workers
            atexit.register(_remove, Path(folder))


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):  # other files, or no folder
        for path in [*folder.glob(f"*{_SUFFIX}"), *folder.glob("*.fresh")]:
            path.unlink(missing_ok=True)
        folder.rmdir()


def totals(folders: list[Path]) -> tuple[float, ...]:
    """The sums over all processes, in the order of `COUNTERS`."""
    files = [path for folder in folders for path in folder.glob(f"*{_SUFFIX}")]
    return tuple(map(sum, zip(*map(_read, files), strict=True))) or (0.0,) * len(COUNTERS)


class Collector:
    """The collector that reads the files when Prometheus asks."""

    def __init__(self) -> None:
        self.folders: list[Path] = []

    def describe(self) -> list[Any]:
        """Nothing: counters are described by `collect`."""
        return []

    def collect(self) -> Iterator[Any]:
        """The counters as they are now."""
        from prometheus_client.core import CounterMetricFamily

        for (name, about), total in zip(COUNTERS, totals(self.folders), strict=True):
            yield CounterMetricFamily(name, about, value=total)


@functools.cache
def _collector() -> Collector:
    from prometheus_client import REGISTRY

    collector = Collector()
    REGISTRY.register(collector)
    return collector


def _read(path: Path) -> tuple[float, ...]:
    """The numbers in a file; zeros if it is missing."""
    try:
        return _NUMBERS.unpack(path.read_bytes())
    except FileNotFoundError:
        return (0.0,) * len(COUNTERS)
