"""`iqr`: counts outliers, and plans an upper bound."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from plugins.cases import OUTLIERS, TOP
from scope_core import Pruner


@pytest.mark.parametrize(("options", "rows"), [({}, 2), ({"times": 3}, 6), ({"times": 9}, 16), ({"fence": 1e9}, 1)])
def test_counts(options: dict[str, Any], rows: int) -> None:
    spec = {**TOP, "budget": {"name": "iqr", **options}}
    assert scope.select(torch.ones(1, 16, 2), saliency=OUTLIERS, spec=spec).counts == (rows,)


def test_the_plan_is_an_upper_bound() -> None:
    plan = Pruner({**TOP, "budget": "iqr"}).plan([16, 4])
    assert plan.counts == (16, 4)
    assert not plan.exact
