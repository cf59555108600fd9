"""`suppress`: salient tokens without their near copies."""

from __future__ import annotations

from typing import Any

import oracles_adaptive as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.selector.cases import FEATURES, SALIENCY


def select(budget: int = 8, **options: Any) -> scope.Selection:
    spec = {"selector": {"name": "suppress", **options}, "budget": budget, "dtype": "float64"}
    return scope.select(FEATURES, saliency=SALIENCY, spec=spec, grid=(5, 6))


@given(st.floats(-1, 1), st.integers(1, 30), st.sampled_from(["rank", "stop"]))
def test_survivors_then_the_rest(threshold: float, budget: int, then: str) -> None:
    got = select(budget, threshold=threshold, then=then)
    assert got.stage is not None
    for group in range(2):
        order = oracle.ranked(SALIENCY[group].numpy())
        kept = oracle.suppressed(order, oracle.cosines(FEATURES[group].double().numpy()), [threshold])[:budget]
        rest = [] if then == "stop" else [j for j in order if j not in kept][: budget - len(kept)]
        row = got.picks[group]
        assert row[row >= 0].tolist() == kept + rest
        assert got.stage[group][row >= 0].tolist() == [0] * len(kept) + [1] * len(rest)


def test_only_neighbours_suppress_within_a_radius() -> None:
    equal = torch.ones(1, 30, 4)
    spec = {"selector": {"name": "suppress", "radius": 1, "then": "stop"}, "budget": 30}
    got = scope.select(equal, saliency=torch.linspace(1, 0, 30)[None], spec=spec, grid=(5, 6))
    assert got.picks[0].tolist() == [0, 2, 4, 12, 14, 16, 24, 26, 28]
    nowhere = scope.select(equal, saliency=torch.linspace(1, 0, 30)[None], spec=spec)
    assert nowhere.counts == (30,)  # without a grid nothing is near


def test_pieces_share_by_survivors() -> None:
    """Of two pieces, one holds one thing and the other many: each keeps a token, the rest goes to the second."""
    features = torch.cat([torch.ones(15, 16), torch.eye(16)[:15] * 3 + 0.01])[None]
    options = {"partition": {"name": "chunks", "count": 2}, "threshold": 0.5}
    for more, counts in (({}, [1, 7]), ({"rounding": "cumulative"}, [1, 7]), ({"cap": 4}, [2, 6])):
        spec = {"selector": {"name": "suppress", **options, **more}, "budget": 8}
        got = scope.select(features, saliency=torch.rand(1, 30), spec=spec)
        assert [int((got.picks < 15).sum()), int((got.picks >= 15).sum())] == counts


def test_thresholds() -> None:
    """The same rule four ways: fixed, times the count, times a statistic, as a distance."""
    wanted = select(4, threshold=0.2).picks
    assert select(4, threshold=0.05, times="count").picks.equal(wanted)
    assert select(4, threshold=0.1, times="count", limit=0.2).picks.equal(wanted)
    assert select(4, threshold=0.8, measure="distance").picks.equal(wanted)
    even = {"name": "share_above", "saliency": "uniform", "threshold": 0.5}  # 1
    assert select(4, threshold=0.2, statistic=even).picks.equal(wanted)


def test_options_of_pieces_need_pieces() -> None:
    with pytest.raises(scope.SpecError, match="options of pieces"):
        select(cap=3)
