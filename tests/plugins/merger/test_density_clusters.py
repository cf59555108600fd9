"""`density_clusters`: dropped tokens come back as clusters."""

from __future__ import annotations

import torch

from plugins.decoder_cases import alone, select, signals


def test_clusters_with_equal_tokens_are_deterministic() -> None:
    features = torch.ones(1, 30, 4)
    read = signals(features, (0, 2))
    pruner = alone("sparsevlm", budget={"name": "tokens", "keep": 10}, merger={"share": 1.0, "per_cluster": 5})
    first, second = (select(pruner, features, read) for _ in range(2))
    assert torch.equal(first.weights, second.weights)
    assert torch.allclose(first.weights.sum(2), torch.ones(1, 10).double())
