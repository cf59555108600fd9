"""Timing several things in turns, so that what disturbs the machine disturbs all of them alike."""

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
"""Wall time; or processor time of this process, which neighbours on the machine disturb less (one thread only)."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: How often each is timed, at most.
        seconds: Once one has taken so long in all, it is timed no more than `least` times.
        least: How often each is timed, at least.
    """

    rounds: int = 25
    seconds: float = 10.0
    least: int = 3


@dataclass
class Laps:
    """What one run took, turn by turn, in milliseconds.

    Attributes:
        wall: Wall time.
        cpu: Processor time of the whole process.
        parts: Further times that the run told of itself, by name.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Median, quartiles and best of each clock, and of the parts."""
        parts = {"parts": {name: spread(laps) for name, laps in self.parts.items()}} if self.parts else {}
        return {"rounds": len(self.wall), "wall_ms": spread(self.wall), "cpu_ms": spread(self.cpu), **parts}


def spread(laps: Sequence[float]) -> dict[str, float]:
    """Median, lower and upper quartile, and the lowest."""
    low, median, high = statistics.quantiles(laps, n=4, method="inclusive") if len(laps) > 1 else [laps[0]] * 3
    return {"median": median, "low": low, "high": high, "best": min(laps)}


def in_turns(
    runs: Mapping[str, Callable[[], Any]],
    effort: Effort,
    device: torch.device,
    progress: Progress = lambda done, total: None,
) -> dict[str, Laps]:
    """Run everything once untimed, then in turns, each turn beginning with another one.

    Args:
        runs: What to time, by name. One that returns a mapping of names to milliseconds tells of its parts.
        effort: How often.
        device: Waited for before a clock is read.
        progress: Called with (turns that are done, turns in all).
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
    told = run()
    finish(device)
    lap.cpu.append((time.process_time() - cpu) * 1e3)
    lap.wall.append((time.perf_counter() - wall) * 1e3)
    if isinstance(told, Mapping):
        for name, part in told.items():
            lap.parts.setdefault(name, []).append(part)


@contextmanager
def quiet() -> Iterator[None]:
    """No garbage is collected while something is timed."""
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
    """Torch computes with so many threads; None leaves it alone."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def allocator(state: str) -> Iterator[None]:
    """How the C library treats memory that was freed.

    Args:
        state: ``"warm"``: it keeps it, as it does in a process that has run a model (glibc begins to once a block of
            up to 32 MiB was freed). ``"fresh"``: it gives every matrix back to the system and gets the next one page by
            page, as in a process that has only just started; anything that makes new matrices is slower then.

    Raises:
        TaskError: ``fresh``, and the C library cannot be told.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)
    if state == "warm":
        yield
        return
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if tell is None or not tell(_MMAP_THRESHOLD, 128 * 2**10):
        raise TaskError("the allocator cannot be told to be fresh: the C library has no mallopt(); leave it at warm")
    try:
        yield
    finally:
        tell(_MMAP_THRESHOLD, 32 * 2**20)


_MMAP_THRESHOLD = -3
"""``M_MMAP_THRESHOLD`` of glibc's malloc.h."""


def finish(device: torch.device) -> None:
    """Wait until a device has done what it was told; the CPU always has."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def ratio(one: Mapping[str, Any], other: Mapping[str, Any], clock: str) -> float:
    """Median of ``one`` over median of ``other``, both from `Laps.facts`."""
    return float(one[f"{clock}_ms"]["median"] / other[f"{clock}_ms"]["median"])
