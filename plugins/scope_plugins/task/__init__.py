"""Built-in tasks."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.task.pope import Pope, PopeSpec
from scope_plugins.task.scenes.task import Scenes, ScenesSpec


@hookimpl
def scope_tasks() -> Iterable[Entry]:
    """Questions with answers, to measure accuracy with."""
    yield Entry(
        PopeSpec, Pope, "POPE: is the object there? From its own question files", paper="POPE, arXiv 2305.10355"
    )
    yield Entry(
        ScenesSpec, Scenes, "emoji on photographs: existence, count, quadrant, relation, size, background", default=True
    )
