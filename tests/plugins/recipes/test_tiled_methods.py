"""Methods for images that are cut into tiles, against oracles in float64. The oracles are in `oracles_recipes`."""

from __future__ import annotations

import oracles_recipes as oracle
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.overview_cases import ATTENTION, SHAPES, case


@pytest.mark.parametrize("share", [0.05, 0.25, 0.8])
@pytest.mark.parametrize(("side", "grid", "cut"), SHAPES)
def test_globalcom2_keeps_the_oracles_tokens(
    side: int, grid: tuple[int, int], cut: tuple[int, int], share: float
) -> None:
    one = case(side, grid, cut, seed=side)
    keep = max(1, round(share * one.tokens.shape[1]))
    picks = scope.Pruner({"recipe": "globalcom2", "budget": keep, "dtype": "float64"}).prune(one.tokens).picks[0]
    wanted = oracle.globalcom2(one.overview, one.canvas, one.tiles, keep, 0.1)
    tile = one.tokens.tile[0, picks]
    found = [{tuple(place) for place in one.place[picks[tile == t]].tolist()} for t in range(len(wanted))]
    assert found == wanted
    assert len(picks) == keep


@given(st.sampled_from(SHAPES), st.integers(0, 99), st.floats(0, 1))
def test_globalcom2_keeps_exactly_its_budget(
    shape: tuple[int, tuple[int, int], tuple[int, int]], seed: int, share: float
) -> None:
    one = case(*shape, seed=seed)
    keep = round(share * one.tokens.shape[1])
    selection = scope.Pruner(f"globalcom2@{keep}").prune(one.tokens)
    assert selection.counts == (keep,)
    assert len(set(selection.picks[0].tolist())) == keep


def test_globalcom2_on_one_tile_is_attention() -> None:
    attention = torch.rand(3, 4, 20, generator=torch.Generator().manual_seed(0))
    signals = {ATTENTION: attention, "vision.canvas": torch.zeros(3, 20, 4)}
    got = scope.select(torch.ones(3, 20, 2), signals=signals, spec="globalcom2@7").picks
    assert torch.equal(got, attention.mean(1).topk(7).indices)
