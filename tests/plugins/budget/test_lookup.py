"""`lookup`: counts of a table."""

from __future__ import annotations

import pytest

import scope_core as scope
from scope_core import Pruner


@pytest.mark.parametrize("rows", [[[]], [[2]]])
def test_lookup_rows_hold_counts(rows: list[list[int]]) -> None:
    with pytest.raises(scope.SpecError, match=r"budget\.rows"):
        Pruner({"recipe": "scope", "budget": {"name": "lookup", "keep": 2, "rows": rows}})
