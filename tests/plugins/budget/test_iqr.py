"""`iqr`: counts outliers, and plans an upper bound."""

from __future__ import annotations

from typing import Any

import numpy as np
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


@pytest.mark.parametrize("tokens", [1, 7, 49, 196, 256, 576, 729, 1024])
@pytest.mark.parametrize("extra", [1, 2, 3, 4, 8, 13, 23, 29])
def test_floored_counts_and_grids_are_those_of_the_release(tokens: int, extra: int) -> None:
    """As released: the share of outliers by NumPy, `int(N * ratio)`, and every `int(int(1 / ratio) / 3)`-th token."""
    values = np.random.default_rng(tokens).permutation(
        [*np.linspace(0, 1, max(tokens - extra, 0)), *range(50, 50 + extra)]
    )
    values = values[:tokens].astype(np.float32)
    low, high = np.percentile(values, 25), np.percentile(values, 75)
    ratio = len(np.where(values > high + 1.5 * (high - low))[0]) / tokens
    saliency = torch.tensor(values)[None]
    top = torch.tensor(values).sort(descending=True, stable=True).indices.tolist()[: int(tokens * ratio)]
    got = scope.select(
        torch.ones(1, tokens, 2), saliency=saliency, spec={**TOP, "budget": {"name": "iqr", "floored": True}}
    )
    assert got.picks[0].tolist()[: len(top)] == top
    assert got.counts == (max(int(tokens * ratio), 1),)
    if ratio and int(1 / ratio) >= 3:
        grid = [token for token in range(0, tokens - 1, int(int(1 / ratio) / 3)) if token not in top]
        spec = {
            "selector": {"name": "grid_fill", "floored": True},
            "budget": {"name": "iqr", "saliency": "cls_attention", "grid": 3, "floored": True},
        }
        plus = scope.select(torch.ones(1, tokens, 2), saliency=saliency, spec=spec)
        assert plus.picks[0].tolist() == [*top, *grid]


def test_one_of_196_is_lost_when_floored() -> None:
    saliency = torch.zeros(1, 196)
    saliency[0, :3] = torch.tensor([9.0, 8.0, 7.0])
    for count in (1, 2):
        mine = saliency * (torch.arange(196) < count)
        spec = {**TOP, "budget": {"name": "iqr", "plus": 1}}
        assert scope.select(torch.ones(1, 196, 2), saliency=mine, spec=spec).counts == (count + 1,)
        spec["budget"]["floored"] = True
        assert scope.select(torch.ones(1, 196, 2), saliency=mine, spec=spec).counts == (2,)  # count - 1, at least 1
