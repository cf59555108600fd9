"""`chain`: steps, shares, and what each step leaves to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_adaptive as oracle
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


def chain(stages: list[Any], shares: list[float], conditioned: Any = False, **more: Any) -> scope.Selection:
    selector = {"name": "chain", "stages": stages, "shares": shares, "conditioned": conditioned}
    spec = {"selector": selector, "budget": 8, **more}
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


class TestConditioned:
    FAR = {"name": "composite", "coverage": "max_min", "combiner": "coverage_only"}  # noqa: RUF012

    def test_distances_start_from_earlier_picks(self) -> None:
        got = chain([TOP_K, self.FAR], [1, 1], conditioned=True)
        for group in range(2):
            cosine = oracle.cosines(FEATURES[group].double().numpy())
            wanted = oracle.grow(cosine, np.ones(30), got.picks[group, :4].tolist(), 8)
            assert got.picks[group].tolist() == wanted

    @pytest.mark.parametrize("coverage", ["facility_location", "log_det", "graph_cut", "redundancy", "saturated"])
    def test_is_one_greedy_run_whose_first_picks_are_given(self, coverage: str) -> None:
        """Two steps of the same parts pick what one step picks."""
        same = {**self.FAR, "coverage": coverage, "similarity": "spatial"}
        apart, once = chain([same, same], [3, 5], conditioned=True), chain([same], [1])
        assert apart.picks.equal(once.picks)
        torch.testing.assert_close(apart.gains, once.gains)

    def test_steps_that_see_some(self) -> None:
        """The third step sees the second alone: it is what a chain of the two picks from what the first left."""
        got = chain([TOP_K, self.FAR, self.FAR], [2, 1, 1], conditioned=[[], [], [1]])
        left = torch.ones(2, 30, dtype=torch.bool).scatter(1, got.picks[:, :4], False)
        spec = {"selector": {"name": "chain", "stages": [self.FAR, self.FAR], "shares": [1, 1], "conditioned": True}}
        two = scope.select(FEATURES, saliency=SALIENCY, valid=left, spec={**spec, "budget": 4})
        assert got.picks[:, 4:].equal(two.picks)

    def test_nothing_left_and_shares_of_zero(self) -> None:
        whole = chain([TOP_K, self.FAR], [29, 1], conditioned=True, budget=30)
        assert sorted(whole.picks[0].tolist()) == list(range(30))
        none = chain([TOP_K, self.FAR], [1, 0], conditioned=True)
        assert none.picks.equal(chain([TOP_K], [1]).picks)
        assert chain([TOP_K, self.FAR], [0, 1], conditioned=True).picks.equal(chain([self.FAR], [1]).picks)

    def test_required_tokens_are_kept_once(self) -> None:
        cells = {"name": "cells", "keep": [[4, col] for col in range(6)]}
        got = chain([TOP_K, self.FAR], [1, 1], conditioned=True, constraints=[cells])
        assert got.mask[:, 24:].all()
        assert all(len(set(row)) == 8 for row in got.picks.tolist())

    @pytest.mark.parametrize("seen", [[[]], [[], [1]], [[0], []], [[], [], []]])
    def test_steps_see_earlier_ones_only(self, seen: list[list[int]]) -> None:
        with pytest.raises(scope.SpecError, match="conditioned"):
            chain([TOP_K, self.FAR], [1, 1], conditioned=seen)


class TestAdaptive:
    STOP = {"name": "suppress", "threshold": 0.2, "then": "stop"}  # noqa: RUF012

    def test_what_a_step_leaves_goes_to_the_next(self) -> None:
        alone = scope.select(FEATURES, saliency=SALIENCY, spec={"selector": self.STOP, "budget": 30})
        got = chain([self.STOP, TOP_K], [29, 1], budget=30)
        assert got.stage is not None
        assert got.stage.eq(0).sum(1).tolist() == list(alone.counts)
        assert got.counts == (30, 30)

    def test_merged_rows_follow_the_count(self) -> None:
        spec = {
            "selector": self.STOP,
            "budget": 20,
            "merger": {"name": "residual", "saliency": "uniform"},
            "at": "projected",
        }
        got = scope.select(FEATURES, saliency=SALIENCY, spec=spec)
        assert got.row_counts == tuple(count + 1 for count in got.counts)
        assert max(got.counts) < 19
        assert not scope.Pruner(spec).plan([30, 30]).exact
