"""`average`: the largest factor whose schedule keeps the average."""

from __future__ import annotations

import numpy as np
import oracles_decoder as oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scope_core import BudgetError, Pruner


@given(
    full=st.integers(1, 60),
    layers=st.lists(st.integers(1, 8), min_size=2, max_size=4),
    average=st.integers(1, 60),
)
def test_average(full: int, layers: list[int], average: int) -> None:
    """The largest factor that fits, and a refusal that names the least that can be met."""
    starts = np.cumsum(layers)[:-1].tolist()
    spec = {
        "recipe": "random",
        "budget": {"name": "average", "keep": average, "layers": sum(layers)},
        "at": f"decoder[{starts[0]}]",
        "then": [{"at": f"decoder[{start}]"} for start in starts[1:]],
    }
    pruner = Pruner(spec)
    least = -(-(full * layers[0] + sum(layers[1:])) // sum(layers))
    if average > full:
        with pytest.raises(BudgetError, match=f"has {full}"):
            pruner.plan([full])
        return
    if average < least:
        with pytest.raises(BudgetError, match=f"the smallest average is {least},"):
            pruner.plan([full])
        return
    plan = pruner.plan([full])
    counts = [plan.total, *(stage.total for stage in plan.later)]
    assert counts == oracle.average_counts(full, layers, average)


def test_average_of_published_schedules() -> None:
    """PyramidDrop's own factor gives its own counts, and its own average gives them back."""
    for budget in ({}, {"budget": 270}):
        plan = Pruner("pyramiddrop", **budget).plan([576])
        assert [plan.total, *(stage.total for stage in plan.later)] == [288, 144, 72]
    with pytest.raises(BudgetError, match="the smallest average is 145, with 1 token after every stage"):
        Pruner("pyramiddrop@64").plan([576])
    later = {"at": "decoder[20]", "budget": {"name": "average", "decay": 0.5, "layers": 32}}
    mixed = Pruner("pyramiddrop", budget={"name": "tokens", "keep": 9}, then=[later])
    with pytest.raises(BudgetError, match="give this budget to every stage"):
        mixed.plan([576])
