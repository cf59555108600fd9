"""`greedy`: order, ties, and its bound."""

from __future__ import annotations

import itertools

import numpy as np
import oracles
import torch
from conftest import Photos
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope


class TestGreedy:
    def test_every_prefix_is_the_answer_for_a_smaller_budget(self, photo_features: Photos) -> None:
        features, saliency = photo_features.one("chelsea")
        full = scope.select(features, saliency=saliency, spec="scope@96").picks
        for keep in (1, 16, 33):
            assert scope.select(features, saliency=saliency, spec=f"scope@{keep}").picks.equal(full[:, :keep])

    def test_copies_of_a_token_come_last(self) -> None:
        features = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
        copies = torch.cat([features, features, features])
        got = scope.select(copies, saliency=torch.ones(24), spec="scope@8").picks[0].tolist()
        assert sorted(pick % 8 for pick in got) == list(range(8))

    @given(st.integers(0, 10_000), st.lists(st.integers(0, 5), min_size=2, max_size=16))
    def test_exact_ties_go_to_the_lowest_index(self, seed: int, groups: list[int]) -> None:
        """Copies of orthogonal vectors: every similarity is exactly 0 or 1 in any precision."""
        features = torch.eye(6)[groups]
        saliency = torch.tensor(np.random.default_rng(seed).integers(1, 3, size=len(groups)), dtype=torch.float32)
        got = scope.select(features, saliency=saliency, spec=f"scope@{len(groups)}").picks[0].tolist()
        assert got == oracles.scope_picks(oracles.cosine_matrix(features), saliency, len(groups))[0]

    def test_greedy_coverage_is_within_its_bound_of_the_optimum(self) -> None:
        features = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
        similarity = oracles.cosine_matrix(features.numpy())
        got = scope.select(features, spec="coverage_only@3").picks[0].tolist()
        best = max(oracles.facility_value(similarity, kept) for kept in itertools.combinations(range(9), 3))
        assert oracles.facility_value(similarity, got) >= (1 - 1 / np.e) * best
