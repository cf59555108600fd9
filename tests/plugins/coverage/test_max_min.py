"""`max_min`: distances by hand."""

from __future__ import annotations

import numpy as np
import oracles
import torch
from fakes import built

import scope_core as scope
from plugins.coverage.cases import gains_along


class TestMaxMin:
    def test_by_hand(self, registry: scope.Registry) -> None:
        similarity = np.array([[1, 0.5, 0.25], [0.5, 1, -0.5], [0.25, -0.5, 1]])
        first, second, third = gains_along(built(registry, "coverage", "max_min"), similarity, [2, 1])
        assert first.tolist() == [0.5, 0.5, 0.75]
        assert second.tolist()[:2] == [0.75, 1.5]
        assert third.tolist()[0] == 0.5

    def test_a_single_token_and_padding(self, registry: scope.Registry) -> None:
        features = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
        valid = torch.tensor([[False, True, False, True, True, False]])
        got = scope.select(features, valid=valid, spec="divprune@3", registry=registry)
        expected = oracles.max_min_picks(oracles.cosine_matrix(features[0].numpy()), 3, valid[0].numpy())[0]
        assert got.picks[0].tolist() == expected
        assert scope.select(features[:, :1], spec="divprune@1", registry=registry).picks.tolist() == [[0]]
