"""`stepped`: whole steps, and a number that is added."""

from __future__ import annotations

import pytest

from plugins.budget.cases import counts


@pytest.mark.parametrize(
    ("keep", "step", "plus", "count"), [(64, 8, 4, 68), (71, 8, 4, 68), (72, 8, 4, 76), (7, 8, 4, 4), (20, 1, 0, 20)]
)
def test_counts(keep: int, step: int, plus: int, count: int) -> None:
    budget = {"name": "stepped", "keep": keep, "step": step, "plus": plus}
    assert counts(budget, [[200], [100, 100]]) == (count, count)
    assert sum(counts(budget, [[200], [100, 100]], "tile")) == 2 * count
