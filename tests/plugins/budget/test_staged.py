"""`staged`: a number or a share of the whole image behind each stage."""

from __future__ import annotations

from typing import Any

import pytest

import scope_core as scope
from scope_core import Pruner


@pytest.mark.parametrize(
    ("budget", "full", "counts"),
    [
        ({"keep": [50, 20, 5]}, 576, [50, 20, 5]),
        ({"ratios": [0.5, 0.25, 0.125]}, 577, [289, 144, 72]),  # 288.5 goes up; 144.25 and 72.125 go down
        ({"ratios": [0.5, 0.25, 0.125], "rounding": "floor"}, 577, [288, 144, 72]),
        ({"ratios": [0.29, 0.29, 0.29]}, 100, [29, 29, 29]),
    ],
)
def test_counts(budget: dict[str, Any], full: int, counts: list[int]) -> None:
    plan = Pruner({"recipe": "pyramiddrop", "budget": {"name": "staged", **budget}}).plan([full])
    assert [plan.total, *(stage.total for stage in plan.later)] == counts


@pytest.mark.parametrize("budget", [{"keep": [9], "ratios": [0.5]}, {"keep": [3, 5, 3]}])
def test_wrong_numbers(budget: dict[str, Any]) -> None:
    with pytest.raises(scope.SpecError, match=r"either `keep` or `ratios`|grows"):
        Pruner({"recipe": "pyramiddrop", "budget": {"name": "staged", **budget}})
