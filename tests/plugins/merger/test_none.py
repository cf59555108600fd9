"""`none`: kept tokens stay as they are."""

from __future__ import annotations

import torch
from fakes import built

import scope_core as scope


def test_there_are_no_weights(registry: scope.Registry) -> None:
    chosen = scope.select(torch.eye(4), spec="coverage_only@2")
    assert built(registry, "merger", "none").weights(chosen) is None


def test_rows_are_the_kept_tokens() -> None:
    features = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    chosen = scope.select(features, spec={"recipe": "coverage_only", "merger": "none", "budget": 3})
    for image in range(2):
        assert chosen.merge(features)[image].equal(features[image, sorted(chosen.picks[image].tolist())])
