"""Sums of a calibration against their oracles, and images that cannot be calibrated from."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import oracles_recipes as oracle_recipes
import pytest
import torch

import scope_core as scope
from scope_core import VisualTokens
from scope_core.engine.calibration import HeadSum, LayerSum, PriorSum


def tokens(grid: tuple[int, int] = (3, 4)) -> VisualTokens:
    return VisualTokens.of(torch.ones(1, grid[0] * grid[1], 2), grid=grid)


def test_head_weights_are_what_differs_between_images() -> None:
    maps = torch.rand(5, 3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    maps[:, 1] = maps[0, 1] * torch.arange(1, 6)[:, None] + 7  # the same places in every image
    found = HeadSum()
    for one in maps:
        found.add(one[None], tokens())
    weights = found.values()
    np.testing.assert_allclose(weights, oracle.head_weights(maps.numpy()), atol=1e-12)
    assert weights[1] == pytest.approx(0, abs=1e-12)
    assert sum(weights) == pytest.approx(1)


def test_a_flat_map_shows_nothing() -> None:
    found = HeadSum()
    for number in range(3):
        found.add(torch.stack([torch.full((12,), 0.1), torch.eye(12)[number]])[None], tokens())
    assert found.values()[0] == 0


def test_a_prior_is_the_mean_at_each_place() -> None:
    scores = torch.rand(4, 1, 12, dtype=torch.float64) + 0.1
    found = PriorSum()
    for one in scores:
        found.add(one, tokens())
    np.testing.assert_allclose(found.values(), scores.mean((0, 1)).view(3, 4).numpy())


def test_images_that_cannot_be_calibrated_from() -> None:
    heads, prior = HeadSum(), PriorSum()
    heads.add(torch.rand(1, 2, 12), tokens())
    with pytest.raises(scope.TokensError, match="give at least 2"):
        heads.values()
    with pytest.raises(scope.TokensError, match="has 6 tokens, those before 12"):
        heads.add(torch.rand(1, 2, 6), tokens((2, 3)))
    same = HeadSum()
    for _ in range(2):
        same.add(torch.eye(12)[None, :2], tokens())
    with pytest.raises(scope.TokensError, match="the same map for every image"):
        same.values()
    prior.add(torch.eye(12)[:1], tokens())
    with pytest.raises(scope.TokensError, match="0 at a place"):
        prior.values()
    with pytest.raises(scope.TokensError, match="2 x 3 tokens, those before 3 x 4"):
        prior.add(torch.ones(1, 6), tokens((2, 3)))
    with pytest.raises(scope.TokensError, match="no whole grid"):
        prior.add(torch.ones(1, 4), VisualTokens.of(torch.ones(1, 4, 2)))


def test_shares_of_layers_are_those_of_the_oracle() -> None:
    scores = torch.rand(3, 4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 3
    scores[1, 2] = 0  # a layer that looks at nothing: every token counts the same
    scores[2, 0, :5] = 0
    found = LayerSum()
    for one in scores:
        found.add(one[None], tokens())
    got = np.array(found.values())
    assert got.shape == (4, 51)
    filled = torch.where(scores.sum(2, keepdim=True) > 0, scores, 1.0).numpy()
    np.testing.assert_allclose(got, oracle_recipes.shares_of_layers(filled, np.arange(51) / 50), atol=1e-12)
    assert (np.diff(got, axis=0) <= 1e-12).all()
    assert (np.diff(got, axis=1) <= 1e-12).all()
    assert not got[:, -1].any()


def test_scores_below_0_are_no_shares() -> None:
    with pytest.raises(scope.TokensError, match="has a score below 0"):
        LayerSum().add(-torch.ones(1, 2, 12), tokens())
