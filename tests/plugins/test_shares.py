"""How a budget is counted and divided: stages of a chain, outliers, tiles."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from scope_core import Layout, Pruner

TOP = {"coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}


class TestChain:
    def test_says_which_stage_made_each_pick(self) -> None:
        stages = [{"name": "composite", **TOP}, {"name": "composite", "optimizer": "grid"}]
        spec = {"selector": {"name": "chain", "stages": stages, "shares": [1, 3]}, "budget": 8, "order": "stages"}
        got = scope.select(torch.randn(2, 20, 4), saliency=torch.rand(2, 20), spec=spec)
        assert got.stage is not None
        assert got.stage.tolist() == [[0, 0, 1, 1, 1, 1, 1, 1]] * 2
        for row, picks in zip(got.arranged.tolist(), got.picks.tolist(), strict=True):
            assert row == sorted(picks[:2]) + sorted(picks[2:])

    @pytest.mark.parametrize(("keep", "rounding", "first"), [(7, "floor", 3), (7, "remainder", 4), (1, "floor", 0)])
    def test_rounding(self, keep: int, rounding: str, first: int) -> None:
        stages = [{"name": "composite", **TOP}, {"name": "composite", **TOP}]
        spec = {"selector": {"name": "chain", "stages": stages, "shares": [1, 1], "rounding": rounding}, "budget": keep}
        got = scope.select(torch.randn(1, 20, 4), saliency=torch.rand(1, 20), spec=spec)
        assert got.stage is not None
        assert int((got.stage == 0).sum()) == first

    def test_tokens_folded_by_one_stage_stay_where_they_went(self) -> None:
        stages = [{"name": "composite", **TOP}, {"name": "bipartite", "fold": True}]
        spec = {"selector": {"name": "chain", "stages": stages, "shares": [1, 1]}, "budget": 6, "merger": "average"}
        features = torch.randn(1, 20, 4)
        got = scope.select(features, saliency=torch.rand(1, 20), spec=spec)
        assert got.assigned is not None
        home = got.assigned[0]
        assert home[got.picks[0]].tolist() == got.picks[0].tolist()
        for row, token in zip(got.merge(features)[0], got.rows[0].tolist(), strict=True):
            torch.testing.assert_close(row, features[0, home == token].mean(0))


class TestGridFillAndIqr:
    SALIENCY = torch.tensor([[1.0, 2, 1, 99, 1, 2, 1, 2, 1, 2, 1, 2, 88, 2, 1, 2]])

    def test_outliers_then_a_grid(self) -> None:
        spec = {
            "selector": {"name": "grid_fill", "density": 2},
            "budget": {"name": "iqr", "saliency": "cls_attention", "grid": 2},
        }
        got = scope.select(torch.ones(1, 16, 2), saliency=self.SALIENCY, spec=spec)
        assert got.picks[0].tolist() == [3, 12, 0, 4, 8]  # two outliers, one of them on the grid of every 4th token

    @pytest.mark.parametrize(("options", "rows"), [({}, 2), ({"times": 3}, 6), ({"times": 9}, 16), ({"fence": 1e9}, 1)])
    def test_counts(self, options: dict[str, Any], rows: int) -> None:
        spec = {**TOP, "budget": {"name": "iqr", **options}}
        assert scope.select(torch.ones(1, 16, 2), saliency=self.SALIENCY, spec=spec).counts == (rows,)

    def test_the_plan_is_an_upper_bound(self) -> None:
        plan = Pruner({**TOP, "budget": "iqr"}).plan([16, 4])
        assert plan.counts == (16, 4)
        assert not plan.exact


class TestTokensPerTile:
    def test_floor(self) -> None:
        layout = Layout.of([[576, 576, 576], [576]])
        budget = {"name": "tokens", "keep": 640, "per": "image", "if_short": "keep_all"}
        exact = Pruner({"recipe": "fastervlm", "budget": budget}).plan(layout)
        floored = Pruner({"recipe": "fastervlm", "budget": {**budget, "tiles": "floor"}}).plan(layout)
        assert exact.counts == (214, 213, 213, 576)
        assert floored.counts == (213, 213, 213, 576)

    def test_a_share_that_no_tile_can_meet(self) -> None:
        spec = {"recipe": "fastervlm", "budget": {"name": "tokens", "keep": 20, "tiles": "floor"}}
        with pytest.raises(scope.BudgetError, match="image 0, tile 1 has 4 tokens"):
            Pruner(spec).plan(Layout.of([[16, 4]]))


@pytest.mark.parametrize("scale", [1e3, 1e-3])
def test_high_powers_of_scores_give_the_winner_all(scale: float) -> None:
    saliency = torch.tensor([[1.0, 1, 1, 1, 9, 9, 9, 9, 1, 1, 1, 1]]) * scale
    inner = {"name": "composite", **TOP}
    quota = {"name": "quota", "sharpness": 300.0, "partition": {"name": "chunks", "count": 3}, "selector": inner}
    spec = {"selector": {**quota, "saliency": "cls_attention"}, "budget": 4}
    got = scope.select(torch.randn(1, 12, 4), saliency=saliency, spec=spec)
    assert got.kept.tolist() == [[4, 5, 6, 7]]


def test_floor_that_leaves_nothing_of_a_tile_is_refused() -> None:
    pruner = Pruner({"recipe": "scope", "partition": "tile", "budget": {"name": "tokens", "keep": 2, "tiles": "floor"}})
    with pytest.raises(scope.BudgetError, match=r"2 tokens equally among 3 tiles, which leaves none for image 0, tile 0"):
        pruner.plan(Layout.of([[4, 4, 4]]))


@pytest.mark.parametrize("rows", [[[]], [[2]]])
def test_lookup_rows_hold_counts(rows: list[list[int]]) -> None:
    with pytest.raises(scope.SpecError, match=r"budget\.rows"):
        Pruner({"recipe": "scope", "budget": {"name": "lookup", "keep": 2, "rows": rows}})


def test_pivots_need_one() -> None:
    """Text pivots alone, and an image that no text follows."""
    x = torch.randn(1, 12, 8)
    names = {"keys": torch.zeros(1, 1, 12, 4), "hidden": x, "text_keys": torch.zeros(1, 1, 1, 4)}
    signals = {f"decoder.{name}[2]": tensor for name, tensor in names.items()}
    signals["decoder.text_hidden[2]"] = torch.zeros(1, 1, 8)
    pivots = {"name": "pivots", "pivots": 0, "keys": 2, "states": 2, "saliency": "uniform"}
    with pytest.raises(scope.TokensError, match="image 0 has no pivot"):
        scope.select(x, signals=signals, spec={"selector": pivots, "budget": 4})
