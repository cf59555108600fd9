"""`overview_attention`: the overview's scores, carried over to tiles that may be cut and odd."""

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

OFF_OVERVIEW = (torch.arange(27) >= 9).float()[None, :, None]
SPEC: dict[str, Any] = {"name": "overview_attention", "of": {"name": "cls_attention", "layer": -1}}


@pytest.mark.parametrize(("side", "grid", "cut"), SHAPES)
def test_is_bilinear_interpolation_to_what_is_left_of_the_tiles(
    side: int, grid: tuple[int, int], cut: tuple[int, int]
) -> None:
    one = case(side, grid, cut, seed=side)
    got = built(REGISTRY, "saliency", SPEC).score(one.tokens)[0].numpy()
    np.testing.assert_array_equal(got[: side * side], one.overview.flatten())
    wanted = oracle.stretched(one.overview, *one.canvas.shape)
    row, col = one.place[side * side :].T.numpy()
    np.testing.assert_allclose(got[side * side :], wanted[row, col], rtol=1e-12)


def test_an_image_of_one_tile_needs_no_places() -> None:
    attention = torch.rand(2, 3, 6)
    tokens = VisualTokens.of(torch.ones(2, 6, 2), signals={ATTENTION: attention})
    got = built(REGISTRY, "saliency", SPEC).score(tokens)
    torch.testing.assert_close(got, attention.sum(1))


def test_tiles_without_an_overview_are_refused_by_name() -> None:
    one = case(3, (1, 2), (0, 0), seed=0)
    alone = one.tokens.regroup(torch.arange(9, 27)[None])
    with pytest.raises(scope.TokensError, match="image 0 has no overview with a grid"):
        built(REGISTRY, "saliency", SPEC).score(alone)


def test_several_images_in_a_group_have_their_own_overviews() -> None:
    one, two = case(3, (1, 2), (0, 0), seed=0), case(3, (1, 2), (0, 0), seed=1)

    def joined(name: str) -> torch.Tensor:
        return torch.cat([one.tokens.signal(name), two.tokens.signal(name)], 2 if name == ATTENTION else 1)

    both = VisualTokens.of(
        torch.ones(1, 54, 2, dtype=torch.float64),
        image=torch.arange(54)[None] // 27,
        **{name: getattr(one.tokens, name).repeat(1, 2) for name in ("tile", "row", "col")},
        signals={name: joined(name) for name in ("vision.canvas", ATTENTION)},
    )
    part = built(REGISTRY, "saliency", SPEC)
    alone = torch.cat([part.score(one.tokens), part.score(two.tokens)], 1)
    assert torch.equal(part.score(both), alone)


def test_places_beyond_the_border_take_the_nearest_value() -> None:
    one = case(3, (1, 2), (0, 0), seed=0)
    canvas = one.tokens.signal("vision.canvas").clone()
    canvas[0, -1, :2] = torch.tensor([-4.0, 9.0])
    signals = {"vision.canvas": canvas, ATTENTION: one.tokens.signal(ATTENTION)}
    tokens = VisualTokens.of(
        one.tokens.features, signals=signals, **{name: getattr(one.tokens, name) for name in ("tile", "row", "col")}
    )
    assert float(built(REGISTRY, "saliency", SPEC).score(tokens)[0, -1]) == one.overview[0, 2]


@pytest.mark.parametrize(
    ("canvas", "message"),
    [
        (torch.zeros(1, 27, 1), r"has shape \(1, 27, 1\); expected \(B, N, 4\)"),
        (torch.full((1, 27, 4), torch.nan), "is nan"),
        (torch.arange(108.0).view(1, 27, 4) * OFF_OVERVIEW, "different sizes of one image"),
        (torch.full((1, 27, 4), 0.5) * OFF_OVERVIEW, "or a size below 1"),
    ],
)
def test_signals_that_are_no_places_are_refused(canvas: torch.Tensor, message: str) -> None:
    one = case(3, (1, 2), (0, 0), seed=0)
    planes = {name: getattr(one.tokens, name) for name in ("tile", "row", "col")}
    signals = {"vision.canvas": canvas, ATTENTION: one.tokens.signal(ATTENTION).float()}
    with pytest.raises(scope.TokensError, match=message):
        built(REGISTRY, "saliency", SPEC).score(VisualTokens.of(torch.ones(1, 27, 2), signals=signals, **planes))
