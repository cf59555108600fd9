"""The peak memory of a part of a process, as Linux counts it, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

STATUS = Path("/proc/self/status")
needs_linux = pytest.mark.skipif(
    not STATUS.exists(), reason="peak memory of a part of a process is read as Linux counts it"
)
WATCH = """
import ctypes, gc, json, re, sys
from pathlib import Path

def counted(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

system = ctypes.CDLL(None)
if hasattr(system, "mallopt"):
    system.mallopt(-3, 1 << 20)  # M_MMAP_THRESHOLD: blocks from 1 MiB are given back as soon as they are freed

def added(run):
    gc.collect()
    if hasattr(system, "malloc_trim"):
        system.malloc_trim(0)  # what earlier cases freed is given back, so that it counts again
    before = counted("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    run()
    return counted("VmHWM") - before

"""
"""Defines ``added(run)``: bytes that a call added to the process' peak.

Without the fixed threshold, what the allocator keeps of freed tensors depends on the order in which threads and earlier
cases asked for memory: the same call was once seen to add 114 MB, and once 182.
"""


def measured(program: str, cases: Sequence[Any]) -> list[Any]:
    """What ``program`` prints of each case, which it reads from its argument; one line of JSON for each."""
    command = [sys.executable, "-c", WATCH + program, json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]
