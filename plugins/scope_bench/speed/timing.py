"""Timing of several functions in turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from scope_core import TaskError

CLOCKS = ("wall", "cpu")
"""Wall time, or processor time of this process, which other programs disturb less (use one thread)."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Effort:
    """Number of rounds of a measurement.

    Attributes:
        rounds: Largest number of rounds.
        seconds: Total time after which a function has no further rounds beyond ``least``.
        least: Smallest number of rounds.
    """

    rounds: int = 25
    seconds: float = 10.0
    least: int = 3


@dataclass
class Laps:
    """Times of a function in each round, in milliseconds.

    Attributes:
        wall: Wall time.
        cpu: Processor time of the whole process.
        parts: Times of parts that the function returned, by name.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Median, quartiles and minimum of each clock, and of the parts."""
        parts = {"parts": {name: spread(laps) for name, laps in self.parts.items()}} if self.parts else {}
        return {"rounds": len(self.wall), "wall_ms": spread(self.wall), "cpu_ms": spread(self.cpu), **parts}


def spread(laps: Sequence[float]) -> dict[str, float]:
    """Median, lower and upper quartile, and minimum."""
    low, median, high = statistics.quantiles(laps, n=4, method="inclusive") if len(laps) > 1 else [laps[0]] * 3
    return {"median": median, "low": low, "high": high, "best": min(laps)}


def in_turns(
    runs: Mapping[str, Callable[[], Any]],
    effort: Effort,
    device: torch.device,
    progress: Progress = lambda done, total: None,
) -> dict[str, Laps]:
    """Times of functions: each is run once untimed, then once in every round, which begins with a different one.

    Args:
        runs: Functions by name. A function may return the milliseconds of its parts as a mapping.
        effort: Number of rounds.
        device: Device to wait for before a clock is read.
        progress: Called with (finished rounds, all rounds).
    """
    laps = {name: Laps() for name in runs}
    names = list(runs)
    for name in names:
        runs[name]()
    with quiet():
        for turn in range(effort.rounds):
            start = turn % max(len(names), 1)
            for name in names[start:] + names[:start]:
                lap = laps[name]
                if turn < effort.least or sum(lap.wall) < 1e3 * effort.seconds:
                    _time(runs[name], lap, device)
            progress(turn + 1, effort.rounds)
    return laps


def _time(run: Callable[[], Any], lap: Laps, device: torch.device) -> None:
    finish(device)
    wall, cpu = time.perf_counter(), time.process_time()
    parts = run()
    finish(device)
    lap.cpu.append((time.process_time() - cpu) * 1e3)
    lap.wall.append((time.perf_counter() - wall) * 1e3)
    if isinstance(parts, Mapping):
        for name, part in parts.items():
            lap.parts.setdefault(name, []).append(part)


@contextmanager
def quiet() -> Iterator[None]:
    """A context without garbage collection."""
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """A context in which torch uses ``count`` threads; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def allocator(state: str) -> Iterator[None]:
    """A context that determines how the C library treats freed memory.

    Args:
        state: ``"warm"``: it keeps freed memory, as in a process that has run a model (glibc does so after a block of
            up to 32 MiB was freed). ``"fresh"``: it returns every matrix to the system and gets the next one page by
            page, as in a process that has just started; code that allocates new matrices is then slower.

    Raises:
        TaskError: ``state`` is ``fresh``, but the C library does not support it.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
    if state == "warm":
        yield
        return
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if tell is None or not tell(_MMAP_THRESHOLD, 128 * 2**10):
        raise TaskError("allocator 'fresh' needs mallopt(), which this C library does not have; use --allocator warm")
    try:
        yield
    finally:
        tell(_MMAP_THRESHOLD, 32 * 2**20)


_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of glibc's malloc.h."""


def finish(device: torch.device) -> None:
    """Wait until a device has finished all its work; the CPU always has."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def ratio(one: Mapping[str, Any], other: Mapping[str, Any], clock: str) -> float:
    """Median of ``one`` over median of ``other``, both from `Laps.facts`."""
    return float(one[f"{clock}_ms"]["median"] / other[f"{clock}_ms"]["median"])
