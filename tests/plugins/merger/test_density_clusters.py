"""`density_clusters`: dropped tokens come back as clusters."""

from __future__ import annotations

import oracles_decoder
import pytest
import torch

import scope_core as scope
from plugins.decoder_cases import alone, select, signals
from scope_plugins.merger.density_clusters import cluster


def test_clusters_with_equal_tokens_are_deterministic() -> None:
    features = torch.ones(1, 30, 4)
    read = signals(features, (0, 2))
    pruner = alone("sparsevlm", budget={"name": "tokens", "keep": 10}, merger={"share": 1.0, "per_cluster": 5})
    first, second = (select(pruner, features, read) for _ in range(2))
    assert torch.equal(first.weights, second.weights)
    assert torch.allclose(first.weights.sum(2), torch.ones(1, 10).double())


def test_clusters_that_drop_as_many_tokens_as_they_add_are_refused() -> None:
    """One cluster for each dropped token: its row drops a token, which needs a row. That must end."""
    pruner = alone("sparsevlm", budget={"name": "tokens", "keep": 10}, merger={"share": 1.0, "per_cluster": 1})
    with pytest.raises(scope.BudgetError, match=r"adds 20 row.s., but the budget is 10"):
        pruner.plan([20])
    assert pruner.plan([10]).counts == (10,)


@pytest.mark.parametrize("length", [1.0, 15.0])
def test_clusters_of_long_vectors_are_those_of_the_definition(length: float) -> None:
    """At 15 times the usual length, float32 densities would all be 0, and the first tokens the centres."""
    for seed in range(5):
        features = length * torch.randn(12, 6, generator=torch.Generator().manual_seed(seed))
        home = cluster(features, 4).tolist()
        want = oracles_decoder.clusters(features.double().numpy(), 4)
        assert [[home[i] == home[j] for j in range(12)] for i in range(12)] == [
            [want[i] == want[j] for j in range(12)] for i in range(12)
        ]


def test_tokens_that_constraints_exclude_are_not_there_to_be_clustered() -> None:
    """The plan counts a row for a dropped token before it is known which tokens are excluded."""
    spec = {
        "recipe": "coverage_only",
        "constraints": [{"name": "cells", "drop": [[0, 0], [0, 1]]}],
        "merger": {"name": "density_clusters", "saliency": "uniform"},
        "budget": 11,
    }
    features = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0))
    with pytest.raises(scope.BudgetError, match=r"adds 1 row.s. for dropped tokens, but only 0 are left.*lower the"):
        scope.select(features, spec=spec, grid=(3, 4))
    assert scope.select(features, spec={**spec, "budget": 10}, grid=(3, 4)).row_counts == (10,)
