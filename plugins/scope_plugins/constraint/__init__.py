"""Built-in constraints."""

from __future__ import annotations

from collections.abc import Iterable

from scope_core import Entry, hookimpl
from scope_plugins.constraint.cells import Cells, CellsSpec


@hookimpl
def scope_constraints() -> Iterable[Entry]:
    """Cells of the token grid."""
    yield Entry(CellsSpec, Cells, "cells of the token grid that must be kept or dropped")
