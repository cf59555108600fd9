"""D2Pruner and others inside the language model, pick for pick against their oracles in `oracles_recipes`."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_recipes as oracle
import pytest
import torch
from conftest import Photos
from hypothesis import given
from hypothesis import strategies as st

from scope_core import Pruner

GRID = (24, 24)
LAST = "decoder.last_query_attention[2]"


def with_prior(prior: np.ndarray) -> dict[str, Any]:
    """The recipe's selector with another prior."""
    selector = Pruner("d2pruner").spec.selector.model_dump(mode="json")
    for step in selector["stages"]:
        step["saliency"]["prior"] = prior.tolist()
    return dict(selector)


@pytest.mark.parametrize("keep", [1, 2, 33, 64, 300])
@pytest.mark.parametrize("flat", [True, False])
def test_d2pruner(keep: int, flat: bool, photo_features: Photos) -> None:
    x = photo_features.features.double()
    attention = torch.rand(3, 4, 576, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    prior = np.ones(GRID) if flat else np.random.default_rng(1).random(GRID) + 0.1
    more = {} if flat else {"selector": with_prior(prior)}
    got = Pruner("d2pruner", budget=keep, dtype="float64", **more).select(x, signals={LAST: attention}, grid=GRID)
    for image in range(3):
        wanted = oracle.d2pruner(x[image].numpy(), attention[image].mean(0).numpy(), prior, keep)
        assert got.picks[image].tolist() == wanted


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.integers(0, 3))
def test_d2pruner_keeps_exactly_its_budget_on_any_grid(rows: int, cols: int, share: float, distinct: int) -> None:
    """Also where all tokens are equal (0) and all attention is 0."""
    count = rows * cols
    keep = round(share * count)
    x = torch.ones(1, count, 4) + torch.arange(count)[None, :, None] % max(distinct, 1)
    selection = Pruner("d2pruner", budget=keep).select(x, signals={LAST: torch.zeros(1, 2, count)}, grid=(rows, cols))
    assert selection.counts == (keep,)
    assert len(set(selection.picks[0].tolist())) == keep


@pytest.mark.parametrize("keep", [1, 12, 64, 288])
def test_topv(keep: int, photo_features: Photos) -> None:
    x = photo_features.features[:, :100, :16].double()
    make = torch.Generator().manual_seed(0)
    after = x + torch.randn(3, 100, 16, generator=make, dtype=torch.float64)
    signals = {"decoder.hidden[1]": x, "decoder.hidden[2]": after}
    keep = min(keep, 90)
    got = Pruner("topv", budget=keep, dtype="float64").select(x, signals=signals, grid=(10, 10))
    places = np.array([(i // 10, i % 10) for i in range(100)], dtype=float)
    for image in range(3):
        cost = oracle.topv_cost(x[image].numpy(), after[image].numpy(), places, (1, 1, 1))
        paid = 100 * (oracle.transported(cost, 0.3, 300) * cost).sum(1)
        first = round(keep * 0.9)
        close = oracle.ranked(-paid)[: first + 3]  # up to the tolerance of the plan
        picks = got.picks[image].tolist()
        assert len(set(picks)) == keep
        assert set(picks[: max(first - 3, 0)]) <= set(close)
        assert (got.stage[image] == 0).sum() == first


def test_fitprune(photo_features: Photos) -> None:
    x = photo_features.features.double()
    make = torch.Generator().manual_seed(0)
    text, every = (torch.rand(3, 4, *more, 576, generator=make, dtype=torch.float64) ** 5 for more in ((7,), ()))
    signals = {"decoder.text_attention[0]": text, "decoder.received_attention[0]": every}
    got = Pruner("fitprune", budget=64, dtype="float64").select(x, signals=signals, grid=GRID)
    keep = (64 * 32 - 576) // 31  # layer 0 has all tokens, the others the same number
    for image in range(3):
        shares = [part / part.sum() for part in (text[image].mean(1).amax(0).numpy(), every[image].amax(0).numpy())]
        assert got.picks[image].tolist() == oracle.ranked(np.round(np.maximum(*shares), 15))[:keep]


def test_fitprune_plans_a_fall_from_layer_to_layer() -> None:
    falling = [[1.0, 1 - 0.5 * layer / 30, 0.0] for layer in range(31)]
    plan = Pruner("fitprune", budget={"shares": falling, "keep": 192}).plan([576])
    counts = [576, *(stage.total for stage in (plan, *plan.later))]
    assert len(counts) == 32
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) <= 192 * 32 < sum(counts) + 31
