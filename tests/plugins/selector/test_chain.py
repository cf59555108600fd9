"""`chain`: steps, shares, and what each step leaves to the next."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.cases import TOP
from plugins.selector.cases import FEATURES, SALIENCY, TOP_K


class TestShares:
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


def chain(stages: list[Any], shares: list[float], **more: Any) -> scope.Selection:
    spec = {"selector": {"name": "chain", "stages": stages, "shares": shares}, "budget": 8, **more}
    return scope.select(FEATURES, saliency=SALIENCY, spec=spec, grid=(5, 6))


class TestChain:
    def test_a_chain_of_one_is_its_stage(self) -> None:
        alone = scope.select(FEATURES, saliency=SALIENCY, spec="scope@8").picks
        assert chain(["composite"], [1]).picks.equal(alone)

    def test_the_first_stage_is_untouched_by_the_second(self) -> None:
        got = chain([TOP_K, "composite"], [3, 1])
        top = scope.select(FEATURES, saliency=SALIENCY, spec="top_k_attention@6").picks
        assert got.picks[:, :6].equal(top)
        assert got.counts == (8, 8)

    def test_the_second_stage_chooses_from_what_is_left(self) -> None:
        got = chain([TOP_K, "composite"], [1, 1])
        left = torch.ones(2, 30, dtype=torch.bool).scatter(1, got.picks[:, :4], False)
        rest = scope.select(FEATURES, saliency=SALIENCY, valid=left, spec="scope@4").picks
        assert got.picks[:, 4:].equal(rest)

    @given(st.lists(st.sampled_from([0.0, 1e-9, 0.1, 1 / 3, 1.0, 7.0]), min_size=1, max_size=4).filter(any))
    def test_any_shares_add_up(self, shares: list[float]) -> None:
        assert chain([TOP_K] * len(shares), shares).counts == (8, 8)

    @pytest.mark.parametrize(("shares", "first"), [([1, 1], 4), ([3, 1], 6), ([1e-9, 1e-9], 4), ([0.35, 0.65], 3)])
    def test_shares_are_exact(self, shares: list[float], first: int) -> None:
        got = chain([TOP_K, {**TOP_K, "saliency": "uniform"}], shares)
        assert int(got.scores[0].ne(1).sum()) == first

    def test_required_tokens_are_kept_even_by_later_stages(self) -> None:
        cells = {"name": "cells", "keep": [[4, col] for col in range(6)]}
        for stages in ([TOP_K, TOP_K], [TOP_K, "composite"], [{"name": "composite", "optimizer": "grid"}, TOP_K]):
            got = chain(stages, [1, 1], constraints=[cells])
            assert got.mask[:, 24:].all()
            assert got.counts == (8, 8)

    @pytest.mark.parametrize(("stages", "shares"), [(["composite"], [1, 1]), (["composite"], [0]), ([], [])])
    def test_wrong_shares(self, stages: list[str], shares: list[float]) -> None:
        with pytest.raises(scope.SpecError, match="shares"):
            chain(stages, shares)

    def test_stages_may_be_chains(self) -> None:
        inner = {"name": "chain", "stages": [TOP_K, "composite"], "shares": [1, 1]}
        assert chain([inner, TOP_K], [1, 1]).counts == (8, 8)
