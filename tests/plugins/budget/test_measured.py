"""`measured`: from a statistic to a count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core import Layout, Pruner


def counted(value: float, most: int, **options: Any) -> int:
    part = built(REGISTRY, "budget", {"name": "measured", "statistic": "spectral_entropy", **options})
    count: int = part.count(value, most)
    return count


def test_curves() -> None:
    assert [counted(x, 100) for x in (-1, 0, 0.25, 0.5, 1, 7)] == [0, 0, 25, 50, 100, 100]
    assert [counted(x, 100, width=-1.0) for x in (0, 0.25, 1)] == [100, 75, 0]
    assert [counted(x, 100, low=0.2, high=0.6) for x in (0, 0.5, 1)] == [20, 40, 60]
    assert [counted(x, 100, curve="tokens", width=0.5) for x in (3, 900)] == [6, 100]
    logistic = {"curve": "logistic", "centre": 0.42, "width": -0.02}
    assert counted(0.42, 64, **logistic) == 32
    assert counted(0.44, 64, **logistic) == round(64 / (1 + math.e))
    assert [counted(x, 64, **logistic) for x in (-1e9, 1e9)] == [64, 0]


def test_plans_state_the_most_and_prune_keeps_fewer() -> None:
    features = torch.stack([torch.randn(50, 8), torch.full((50, 8), 0.3)])
    for most, planned in (({"keep": 40}, 40), ({"of": 40}, 40), ({}, 50)):
        pruner = Pruner(
            {"recipe": "coverage_only", "budget": {"name": "measured", "statistic": "spectral_entropy", **most}}
        )
        plan = pruner.plan([50, 50])
        assert (plan.exact, plan.counts) == (False, (planned, planned))
        counts = pruner.select(features).counts
        assert 0.8 * planned < counts[0] <= planned
        assert counts[1] == 1  # flat: nothing to see, but the image stays
    assert Pruner(
        {**pruner.spec.to_dict(REGISTRY), "budget": {"name": "measured", "statistic": "spectral_entropy", "keep": 99}}
    ).plan(Layout.of([50])).counts == (50,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must not be 0"),
        ({"low": 0.5, "high": 0.2}, "use a negative width"),
        ({"curve": "tokens", "low": 0.1}, "belong to the curves"),
        ({"keep": 3, "of": 4}, "either"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(scope.SpecError, match=message):
        Pruner({"recipe": "scope", "budget": {"name": "measured", "statistic": "spectral_entropy", **options}})
