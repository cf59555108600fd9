"""`redundancy`: maximal marginal relevance."""

from __future__ import annotations

import numpy as np
import oracles
import torch
from fakes import built

import scope_core as scope
from plugins.coverage.cases import gains_along


class TestRedundancy:
    def test_by_hand(self, registry: scope.Registry) -> None:
        S = np.array([[1, 0.5, 0.25], [0.5, 1, -0.5], [0.25, -0.5, 1]])
        none, one, two = gains_along(built(registry, "coverage", "redundancy"), S, [0, 2])
        assert none.tolist() == [0, 0, 0]
        assert one.tolist() == [-1, -0.5, -0.25]
        assert two.tolist() == [-1, -0.5, -1]

    def test_with_balance_it_is_maximal_marginal_relevance(self) -> None:
        generator = torch.Generator().manual_seed(3)
        features, saliency = torch.randn(1, 30, 6, generator=generator), torch.rand(1, 30, generator=generator)
        spec = {
            "recipe": "scope",
            "coverage": "redundancy",
            "combiner": {"name": "balance", "share": 0.3},
            "budget": 12,
        }
        S, a = oracles.cosine_matrix(features[0].numpy()), saliency[0].double().numpy()
        wanted: list[int] = []
        for _ in range(12):
            left = [j for j in range(30) if j not in wanted]
            score = [0.3 * a[j] - 0.7 * max((S[j, k] for k in wanted), default=0.0) for j in left]
            wanted.append(left[int(np.argmax(score))])
        assert scope.select(features, saliency=saliency, spec=spec).picks[0].tolist() == wanted
