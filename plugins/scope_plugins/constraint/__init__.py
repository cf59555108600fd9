"""Built-in constraints."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core.parts import Entry, hookimpl


@hookimpl
def scope_constraints() -> Iterable[Entry]:
    """Cells of the token grid, and frames."""
    yield Entry("scope_plugins.constraint.cells:Cells", "cells", "cells of the token grid that must be kept or dropped")
    yield Entry(
        "scope_plugins.constraint.first_frame:FirstFrame",
        "first_frame",
        "all tokens of the first frame must be kept",
        paper="EVS, arXiv 2510.14624",
    )
    yield Entry(
        "scope_plugins.constraint.window_start:WindowStart",
        "window_start",
        "all tokens of the first frame of every window must be kept",
        paper="DyCoke, arXiv 2411.15024",
    )
