"""Built-in tasks."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_tasks() -> Iterable[Entry]:
    """Questions with answers, to measure accuracy with."""
    yield Entry(
        "scope_plugins.task.pope:Pope",
        "pope",
        "POPE: yes-or-no questions about objects, from its own question files",
        paper="POPE, arXiv 2305.10355",
    )
    yield Entry(
        "scope_plugins.task.scenes.task:Scenes",
        "scenes",
        "emoji on photographs: existence, count, quadrant, relation, size, background",
        default=True,
    )
