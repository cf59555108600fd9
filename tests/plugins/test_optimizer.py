"""Optimizers: greedy order, one-shot top-k, and the grid that looks at nothing."""

from __future__ import annotations

import itertools

import numpy as np
import oracles
import pytest
import torch
from conftest import Photos
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout


def grid_kept(rows: int, cols: int, keep: int) -> list[int]:
    got = scope.select(torch.ones(rows * cols, 2), spec=f"uniform_grid@{keep}", grid=(rows, cols))
    kept: list[int] = got.kept[0].tolist()
    return kept


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


class TestGrid:
    def test_every_count_of_the_usual_grid(self) -> None:
        for keep in range(1, 577):
            kept = grid_kept(24, 24, keep)
            assert len(set(kept)) == keep
            assert min(kept) >= 0
            assert max(kept) < 576

    @given(st.integers(1, 20), st.integers(1, 20), st.data())
    def test_any_grid_and_count(self, rows: int, cols: int, data: st.DataObject) -> None:
        keep = data.draw(st.integers(1, rows * cols))
        kept = grid_kept(rows, cols, keep)
        assert len(set(kept)) == keep

    def test_squares_are_regular(self) -> None:
        assert grid_kept(24, 24, 4) == [6 * 24 + 6, 6 * 24 + 18, 18 * 24 + 6, 18 * 24 + 18]
        assert grid_kept(4, 4, 16) == list(range(16))
        rows = {place // 24 for place in grid_kept(24, 24, 64)}
        cols = {place % 24 for place in grid_kept(24, 24, 64)}
        assert rows == cols == {1, 4, 7, 10, 13, 16, 19, 22}

    @pytest.mark.parametrize("keep", [16, 37, 64, 100, 192])
    def test_is_well_spread(self, keep: int) -> None:
        """No token of the grid is farther from a kept one than twice the radius of an ideal hexagonal packing."""
        places = np.array([divmod(place, 24) for place in grid_kept(24, 24, keep)])
        every = np.array([divmod(place, 24) for place in range(576)])
        nearest = np.sqrt(((every[:, None] - places[None]) ** 2).sum(-1)).min(1)
        assert nearest.max() <= 2 * np.sqrt(2 * 576 / (keep * 3**1.5)) + 0.5

    def test_tiles_share_the_count_and_looks_do_not_matter(self) -> None:
        layout = Layout.of([[16, 16, 16]])
        features = torch.randn(1, 48, 4, generator=torch.Generator().manual_seed(0))
        got = scope.select(features, spec="uniform_grid@10", layout=layout)
        assert got.kept.equal(scope.select(features * -2 + 1, spec="uniform_grid@10", layout=layout).kept)
        assert [int(((got.kept >= low) & (got.kept < low + 16)).sum()) for low in (0, 16, 32)] == [4, 3, 3]

    def test_without_positions_an_even_stride(self) -> None:
        assert scope.select(torch.ones(10, 2), spec="uniform_grid@5").kept.tolist() == [[1, 3, 5, 7, 9]]

    def test_required_tokens_count(self) -> None:
        spec = {"recipe": "uniform_grid", "budget": 5, "constraints": [{"name": "cells", "keep": [[0, 0], [0, 1]]}]}
        got = scope.select(torch.ones(16, 2), spec=spec, grid=(4, 4))
        assert got.counts == (5,)
        assert {0, 1} <= set(got.kept[0].tolist())
