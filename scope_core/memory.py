"""Free memory, and whether a selection fits into it.

Selecting by similarity needs N x N numbers: 1.3 MB for 576 tokens in float32, 33 MB for 2880, 1.6 GB for 20,000.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

GIB = 2**30
UNCHECKED_BYTES = GIB // 4
"""Requests up to this size are not checked: looking up the free memory takes longer than selecting 576 tokens."""


def shortfall_message(need: int, allowed: int | None, free: int | None) -> str:
    """The reason why ``need`` bytes are too many, for messages; empty if they fit.

    Args:
        need: Bytes.
        allowed: Bytes that may be used; None for nine tenths of ``free``.
        free: Free bytes; None if unknown.
    """
    if allowed is not None:
        return f"`memory: {gibibytes(allowed)}` allows {readable_size(allowed)}" if need > allowed else ""
    too_much = free is not None and need > max(UNCHECKED_BYTES, 0.9 * free)
    return f"{readable_size(free)} are free" if free is not None and too_much else ""


def free_for(need: int, allowed: int | None, device: torch.device) -> int | None:
    """Free bytes on ``device``, if they have to be known to decide whether ``need`` bytes fit; else None."""
    return free_memory(device) if allowed is None and need > UNCHECKED_BYTES else None


def free_memory(device: torch.device | str = "cpu") -> int | None:
    """Bytes that can be allocated on ``device`` now; None if unknown.

    On the CPU: what Linux calls available, or what the limit of the control group leaves, whichever is less. On CUDA:
    free memory plus the unused part of what torch has reserved.
    """
    device = torch.device(device)
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    if device.type != "cpu":
        return None
    amounts = [_available(), _control_group()]
    return min((amount for amount in amounts if amount is not None), default=None)


def _available(path: str = "/proc/meminfo") -> int | None:
    lines = _table(path)
    return lines["MemAvailable:"] * 1024 if "MemAvailable:" in lines else None


def _control_group(folder: str = "/sys/fs/cgroup") -> int | None:
    """Bytes that a container's limit leaves; file pages that can be dropped do not count as used."""
    limit, used = _number(f"{folder}/memory.max"), _number(f"{folder}/memory.current")
    if limit is None or used is None:
        return None
    return max(limit - used + _table(f"{folder}/memory.stat").get("inactive_file", 0), 0)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text("ascii"))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


def _table(path: str) -> Mapping[str, int]:
    try:
        rows = [line.split() for line in Path(path).read_text("ascii").splitlines()]
    except (OSError, ValueError):
        return {}
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}


def readable_size(size: float) -> str:
    """``"1.6 GB"``, ``"33 MB"``, ``"1.3 MB"``, ``"107 kB"`` or ``"60 bytes"`` for messages."""
    if size < 1000:
        return f"{size:.0f} byte{'s' * (size != 1)}"
    unit, name = next((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= unit)
    return f"{size / unit:.{1 if unit == 1e9 or (unit == 1e6 and size < 1e7) else 0}f} {name}"


def gibibytes(size: int) -> str:
    """Bytes as the option `memory` was written: the shortest number of GiB that gives them, ``"0.3"`` for 322122547."""
    roundings = (float(f"{(size + 0.5) / GIB:.{digits}g}") for digits in range(1, 18))
    return repr(next((number for number in roundings if int(number * GIB) == size), size / GIB)).removesuffix(".0")
