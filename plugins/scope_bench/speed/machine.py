"""Description of the machine, and checks of its memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from scope_core import TaskError
from scope_core.parts import free_memory

PACKAGES = ("scope-core", "torch", "transformers", "numba", "triton", "numpy", "submodlib-py", "apricot-select")


def machine(device: torch.device) -> dict[str, Any]:
    """Processor, instruction set, accelerator, threads, load and versions, for the head of a report."""
    found = {name: version(name) for name in PACKAGES}
    return {
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, "cpu") else None,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "device": device.type,
        "accelerator": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **{k: v for k, v in found.items() if v is not None}},
    }


def version(package: str) -> str | None:
    """The version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's name, as reported by the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor()) or platform.machine()


def check_memory(needed: int, what: str, advice: str, device: torch.device) -> None:
    """Check that a measurement fits into memory, before anything is allocated.

    Args:
        needed: Bytes.
        what: Description of what needs them.
        advice: The way out, for the message.
        device: Device of the memory.

    Raises:
        TaskError: more memory is needed than is free.
    """
    free = free_memory(device)
    if free is not None and needed > free:
        raise TaskError(f"{what} needs about {needed / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free; {advice}")
