"""`grid`: even spread, whatever the tokens hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import Layout


def test_grid_spreads_over_every_image_of_a_prompt() -> None:
    layout = Layout.of([16, 16])
    spec = {"recipe": "uniform_grid", "partition": "prompt", "budget": {"name": "tokens", "keep": 8, "per": "total"}}
    together = scope.select(torch.ones(2, 16, 4), grid=(4, 4), layout=layout, spec=spec)
    apart = scope.select(torch.ones(2, 16, 4), grid=(4, 4), spec="uniform_grid@4")
    assert together.kept.equal(apart.kept)


def grid_kept(rows: int, cols: int, keep: int) -> list[int]:
    got = scope.select(torch.ones(rows * cols, 2), spec=f"uniform_grid@{keep}", grid=(rows, cols))
    kept: list[int] = got.kept[0].tolist()
    return kept


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
