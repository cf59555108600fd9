"""`overview_share`: a tile's weight by what the overview attends to on its area."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_recipes as oracle
import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY
from plugins.overview_cases import ATTENTION, SHAPES, case
from scope_core import VisualTokens

SPEC: dict[str, Any] = {"name": "overview_share", "of": {"name": "cls_attention", "layer": -1}, "temperature": 0.2}


@pytest.mark.parametrize(("side", "grid", "cut"), SHAPES)
def test_is_one_plus_a_softmax_of_sums_over_areas(side: int, grid: tuple[int, int], cut: tuple[int, int]) -> None:
    one = case(side, grid, cut, seed=side)
    got = built(REGISTRY, "saliency", SPEC).score(one.tokens)[0].numpy()
    scale = [size / cells for size, cells in zip(one.overview.shape, one.canvas.shape, strict=True)]
    shares = []
    for tile in range(grid[0] * grid[1]):
        places = [np.nonzero(one.tiles == tile)[axis] for axis in (0, 1)]
        spans = [(at.min() * by, (at.max() + 1) * by) for at, by in zip(places, scale, strict=True)]
        shares.append(oracle.area(one.overview, *spans) / one.overview.sum())
    assert sum(shares) == pytest.approx(1, abs=1e-12)  # nothing of the overview is counted twice or left out
    power = np.exp(np.array(shares) / 0.2)
    wanted = 1 + power / power.sum() - 1 / len(shares)
    tile = one.tokens.tile[0].numpy()
    np.testing.assert_array_equal(got[tile == 0], 1)
    np.testing.assert_allclose(got[tile > 0], wanted[tile[tile > 0] - 1], rtol=1e-12)


def test_flat_images_and_images_of_one_tile_weigh_every_token_the_same() -> None:
    part, one = built(REGISTRY, "saliency", SPEC), case(4, (2, 2), (0, 0), seed=0)
    for value in (0.0, 0.3):
        signals = {
            "vision.canvas": one.tokens.signal("vision.canvas"),
            ATTENTION: torch.full((1, 1, one.tokens.shape[1]), value, dtype=torch.float64),
        }
        places = {name: getattr(one.tokens, name) for name in ("tile", "row", "col")}
        tokens = VisualTokens.of(one.tokens.features, signals=signals, **places)
        torch.testing.assert_close(part.score(tokens), torch.ones_like(tokens.row, dtype=torch.float64))
    assert part.score(VisualTokens.of(torch.ones(1, 1, 2), signals={ATTENTION: torch.rand(1, 1, 1)})).tolist() == [[1]]


def test_negative_scores_are_refused() -> None:
    one = case(3, (1, 2), (0, 0), seed=0)
    signals = {"vision.canvas": one.tokens.signal("vision.canvas"), ATTENTION: -one.tokens.signal(ATTENTION)}
    places = {name: getattr(one.tokens, name) for name in ("tile", "row", "col")}
    with pytest.raises(scope.TokensError, match=r"tile 0, token [0-8] the score -0"):
        built(REGISTRY, "saliency", SPEC).score(VisualTokens.of(one.tokens.features, signals=signals, **places))
