"""`windows`: rectangles of the grid, inside a selector."""

from __future__ import annotations

import pytest
import torch
from fakes import built

import scope_core as scope
from plugins.cases import REGISTRY
from scope_core import VisualTokens


def windows(rows: int, cols: int, tokens: VisualTokens) -> torch.Tensor:
    part = built(REGISTRY, "partition", {"name": "windows", "rows": rows, "cols": cols})
    labels: torch.Tensor = part.label(tokens, [4] * tokens.shape[0])
    return labels


def test_windows_in_raster_order_and_smaller_at_the_edges() -> None:
    tokens = VisualTokens.of(torch.ones(1, 20, 2), grid=(4, 5))
    got = windows(3, 2, tokens)[0].view(4, 5)
    assert got.tolist() == [[0, 0, 1, 1, 2]] * 3 + [[3, 3, 4, 4, 5]]
    for size in (5, 1000):
        assert windows(size, size, tokens).unique().tolist() == [0]
    assert windows(1, 1, tokens)[0].tolist() == list(range(20))


def test_tiles_have_windows_of_their_own_and_padding_none() -> None:
    valid = torch.tensor([[True] * 7 + [False]])
    tile = torch.tensor([[0, 0, 0, 0, 1, 1, 1, 1]])
    place = torch.tensor([[0, 1, 2, 3] * 2])
    tokens = VisualTokens.of(torch.ones(1, 8, 2), valid=valid, tile=tile, row=place // 2, col=place % 2)
    assert windows(6, 6, tokens)[0].tolist() == [0, 0, 0, 0, 1, 1, 1, -1]


def test_every_window_keeps_tokens_and_the_sum_is_exact() -> None:
    spec = {"name": "quota", "partition": {"name": "windows"}, "saliency": "uniform"}
    got = scope.select(
        torch.randn(1, 576, 8), saliency=torch.rand(1, 576), spec={"selector": spec, "budget": 37}, grid=(24, 24)
    )
    assert got.counts == (37,)
    tokens = VisualTokens.of(torch.ones(1, 576, 2), grid=(24, 24))
    per_window = windows(6, 6, tokens)[0, got.picks[0]].bincount(minlength=16)
    assert sorted(per_window.tolist()) == [2] * 11 + [3] * 5


def test_refusals() -> None:
    with pytest.raises(scope.TokensError, match="has none; pass grid="):
        windows(2, 2, VisualTokens.of(torch.ones(1, 4, 2)))
    with pytest.raises(scope.SpecError, match=r"quota.*windows"):
        scope.Pruner({"recipe": "scope", "partition": "windows", "budget": 4}).plan([576])
