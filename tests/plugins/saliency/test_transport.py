"""`transport`: Sinkhorn's plan against an oracle in float64, its sums, and what cannot be rated."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_recipes as oracle
import pytest
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core import VisualTokens
from scope_plugins._sinkhorn import sinkhorn

NAMES = ("decoder.hidden[1]", "decoder.hidden[2]")


def tokens_of(rows: int, cols: int, seed: int, dtype: torch.dtype = torch.float64, **planes: Any) -> VisualTokens:
    make = torch.Generator().manual_seed(seed)
    states = [torch.randn(1, rows * cols, 6, generator=make, dtype=torch.float64).to(dtype) for _ in NAMES]
    states[1] = states[1] + states[0]
    return VisualTokens.of(states[0], grid=(rows, cols), signals=dict(zip(NAMES, states, strict=True)), **planes)


def part(**options: Any) -> Any:
    return built(REGISTRY, "saliency", {"name": "transport", **options})


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0.5, 3)])
@pytest.mark.parametrize("temperature", [1.0, 0.3, 0.1])
def test_is_the_oracles_cost_of_the_oracles_plan(weights: tuple[float, float, float], temperature: float) -> None:
    tokens = tokens_of(4, 5, seed=0)
    names = dict(zip(("feature", "relative", "central"), weights, strict=True))
    mine = part(temperature=temperature, tolerance=1e-9, iterations=100000, **names)
    places = torch.stack([tokens.row[0], tokens.col[0]], 1).double().numpy()
    source, target = (tokens.signal(name)[0].numpy() for name in NAMES)
    cost = oracle.topv_cost(source, target, places, weights)
    np.testing.assert_allclose(mine.cost(tokens)[0], cost, rtol=1e-12, atol=1e-12)
    plan = oracle.transported(cost, temperature)
    np.testing.assert_allclose(mine.score(tokens)[0], -20 * (plan * cost).sum(1), rtol=1e-6)


@given(st.integers(1, 12), st.integers(0, 99), st.floats(0.05, 3), st.booleans())
def test_sums_are_equal(count: int, seed: int, temperature: float, single: bool) -> None:
    make = torch.Generator().manual_seed(seed)
    cost = 4 * torch.rand(2, 12, 12, generator=make, dtype=torch.float64)
    cost = cost.float() if single else cost
    valid = torch.arange(12) < torch.tensor([[12], [count]])
    plan, error = sinkhorn(cost, valid, temperature, 3000, 1e-3)
    sizes = torch.tensor([12, count]).to(cost)[:, None]
    assert float(error.max()) <= 1e-3
    torch.testing.assert_close(plan.sum(2) * sizes, valid.to(cost), atol=1e-5, rtol=0)
    torch.testing.assert_close(plan.sum(1) * sizes, valid.to(cost), atol=2e-3, rtol=0)
    assert not plan[1, count:].any()


def test_single_precision_survives_costs_whose_exponentials_vanish() -> None:
    cost = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0)) * 100
    cost.diagonal(dim1=1, dim2=2).zero_()
    valid = torch.ones(1, 9, dtype=torch.bool)
    plan, error = sinkhorn(cost, valid, 0.05, 100, 1e-3)  # exp(-2000) is 0
    assert float(error) <= 1e-3
    torch.testing.assert_close(plan[0] * 9, torch.eye(9), atol=1e-3, rtol=0)


def test_single_precision_ranks_as_double_does_and_twice_the_same() -> None:
    double, single = (part().score(tokens_of(24, 24, 3, dtype))[0] for dtype in (torch.float64, torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=1e-5)
    assert torch.equal(single, part().score(tokens_of(24, 24, 3, torch.float32))[0])
    kept = [set(row.topk(64).indices.tolist()) for row in (double, single)]
    assert len(kept[0] & kept[1]) >= 63


def test_padding_changes_nothing() -> None:
    alone = tokens_of(3, 4, seed=1)
    states = [torch.cat([alone.signal(name), torch.full((1, 2, 6), torch.nan).double()], 1) for name in NAMES]
    row, col = (torch.cat([plane, plane.new_full((1, 2), -1)], 1) for plane in (alone.row, alone.col))
    valid = torch.arange(14)[None] < 12
    padded = VisualTokens.of(
        states[0].nan_to_num(), row=row, col=col, valid=valid, signals=dict(zip(NAMES, states, strict=True))
    )
    got = part().score(padded)
    torch.testing.assert_close(got[:, :12], part().score(alone))
    assert not got[:, 12:].any()


def test_equal_tokens_are_kept_in_the_middle() -> None:
    states = torch.ones(1, 25, 3)
    tokens = VisualTokens.of(states, grid=(5, 5), signals=dict.fromkeys(NAMES, states))
    assert int(part().score(tokens)[0].argmax()) == 12


def test_one_token_and_zeros() -> None:
    one = VisualTokens.of(torch.zeros(1, 1, 3), grid=(1, 1), signals=dict.fromkeys(NAMES, torch.zeros(1, 1, 3)))
    assert part().score(one).tolist() == [[-1.0]]  # a cosine of 0, no distance


def test_tiles_lie_a_diagonal_apart() -> None:
    tokens = tokens_of(2, 4, seed=2, tile=torch.tensor([[0, 0, 1, 1, 0, 0, 1, 1]]))
    cost = part(feature=0, central=0).cost(tokens)[0]
    tile = tokens.tile[0]
    assert bool((cost[tile[:, None] != tile] == 1).all())


def test_plans_that_do_not_converge_are_refused_by_name() -> None:
    with pytest.raises(scope.TokensError, match=r"after 1 iterations, tokens of image 0 .* raise `temperature`"):
        part(temperature=0.01, iterations=1).score(tokens_of(6, 6, seed=0))


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(scope.SpecError, match="feature, relative and central are all 0"):
        scope.Pruner({"saliency": {"name": "transport", "feature": 0, "relative": 0, "central": 0}})
