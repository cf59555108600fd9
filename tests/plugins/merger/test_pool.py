"""`pool`: rectangles of the grid, as adaptive pooling makes them."""

from __future__ import annotations

import numpy as np
import oracles_diversity as book
import pytest
import torch

import scope_core as scope
from scope_core import Layout


class TestDownsample:
    @pytest.mark.parametrize(
        ("grid", "cells"),
        [((24, 24), (8, 8)), ((24, 24), (10, 10)), ((24, 24), (1, 1)), ((12, 6), (8, 4)), ((9, 15), (6, 10))],
    )
    def test_rectangles_are_torchs_adaptive_pooling_and_the_oracles(
        self, grid: tuple[int, int], cells: tuple[int, int]
    ) -> None:
        image = torch.randn(2, *grid, 5, generator=torch.Generator().manual_seed(0))
        spec = f"downsample@{cells[0] * cells[1]}"
        got = scope.select(image.flatten(1, 2), grid=grid, spec=spec).merge(image.flatten(1, 2))
        theirs = torch.nn.functional.adaptive_avg_pool2d(image.permute(0, 3, 1, 2), cells).flatten(2).transpose(1, 2)
        torch.testing.assert_close(got, theirs)
        np.testing.assert_allclose(got[1], book.pooled(image[1], *cells), atol=1e-6)
        if grid[0] % cells[0] == 0 and grid[1] % cells[1] == 0:
            sides = (grid[0] // cells[0], grid[1] // cells[1])
            plain = torch.nn.functional.avg_pool2d(image.permute(0, 3, 1, 2), sides).flatten(2).transpose(1, 2)
            torch.testing.assert_close(got, plain)

    @pytest.mark.parametrize("keep", [1, 2, 7, 37, 64, 191, 192, 500, 576])
    def test_any_count_uses_every_token(self, keep: int) -> None:
        got = scope.select(torch.randn(576, 3), grid=(24, 24), spec=f"downsample@{keep}")
        assert got.counts == got.row_counts == (keep,)
        weights = got.weights
        torch.testing.assert_close(weights.sum(2), torch.ones(1, keep))
        assert (weights.sum(1) > 0).all()
        assert (weights >= 0).all()
        for row, kept in zip(weights[0], got.kept[0], strict=True):
            assert row[kept] > 0  # a cell holds the token that stands for it

    def test_all_of_them_changes_nothing(self) -> None:
        features = torch.randn(1, 30, 4)
        assert scope.select(features, grid=(5, 6), spec="downsample@30").merge(features).equal(features)

    def test_tiles_are_pooled_by_themselves(self) -> None:
        features, layout = torch.randn(1, 48, 4), Layout.of([[16, 32]])
        got = scope.select(features, spec="downsample@12", layout=layout)
        weights = got.weights[0]
        assert got.counts == (12,)
        assert (weights[:4, 16:] == 0).all()
        assert (weights[4:, :16] == 0).all()

    def test_padding_is_not_mixed_in(self) -> None:
        features = torch.randn(2, 20, 4)
        valid = torch.ones(2, 20, dtype=torch.bool)
        valid[1, 12:] = False
        got = scope.select(features, valid=valid, spec="downsample@5")
        assert (got.weights[1, :, 12:] == 0).all()
        torch.testing.assert_close(got.weights.sum(2), torch.ones(2, 5))

    def test_nothing_kept(self) -> None:
        assert scope.select(torch.randn(9, 4), spec="downsample@0").merge(torch.randn(1, 9, 4)).shape == (1, 0, 4)
