"""Built-in constraints."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.constraint.cells import Cells, CellsSpec
from scope_plugins.constraint.first_frame import FirstFrame, FirstFrameSpec


@hookimpl
def scope_constraints() -> Iterable[Entry]:
    """Cells of the token grid, and frames."""
    yield Entry(CellsSpec, Cells, "cells of the token grid that must be kept or dropped")
    yield Entry(FirstFrameSpec, FirstFrame, "the first frame is kept whole", paper="EVS, arXiv 2510.14624")
