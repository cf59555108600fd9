"""Log lines at a limited rate."""

from __future__ import annotations

import time
from collections.abc import Hashable

PAUSE = 60.0
"""Seconds between two lines about the same thing."""

_last: dict[Hashable, tuple[float, int]] = {}
"""Time of the last line about a thing, and how often it happened since."""


def due(about: Hashable) -> int | None:
    """How often it happened since the last line about it; None if there should be no line yet."""
    now = time.monotonic()
    before, silent = _last.get(about, (-PAUSE, 0))
    if now - before < PAUSE:
        _last[about] = before, silent + 1
        return None
    _last[about] = now, 0
    return silent
