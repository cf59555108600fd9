"""`top_k`: one ranking, by the gains of the empty set."""

from __future__ import annotations

import numpy as np
import oracles
import torch
from conftest import Photos

import scope_core as scope


class TestTopK:
    def test_ranks_by_the_gains_of_the_empty_set(self) -> None:
        generator = torch.Generator().manual_seed(2)
        features, saliency = torch.randn(1, 20, 4, generator=generator), torch.rand(1, 20, generator=generator)
        spec = {"recipe": "scope", "optimizer": "top_k", "budget": 7}
        similarity = oracles.cosine_matrix(features[0].numpy())
        score = np.maximum(similarity, 0).sum(0) * saliency[0].numpy()
        got = scope.select(features, saliency=saliency, spec=spec)
        assert got.picks[0].tolist() == oracles.top_k_picks(score, 7)
        np.testing.assert_allclose(got.scores[0], np.sort(score)[::-1][:7], rtol=1e-5)

    def test_equals_greedy_where_coverage_is_modular(self, photo_features: Photos) -> None:
        features, saliency = photo_features.features, photo_features.saliency
        spec = {"recipe": "scope", "coverage": "modular", "budget": 50}
        top_k = scope.select(features, saliency=saliency, spec={**spec, "optimizer": "top_k"})
        assert top_k.picks.equal(scope.select(features, saliency=saliency, spec=spec).picks)
