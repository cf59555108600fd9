"""`select`: edges of the input, constraints, and inputs left as they were."""

from __future__ import annotations

import threading
from typing import Any

import oracles
import pytest
import torch
from conftest import Photos
from fakes import random_case
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import BudgetError, Layout, Pruner, SignalError, SpecError, TokensError


class TestEdges:
    @pytest.mark.parametrize(
        "recipe", ["scope", "coverage_only", "divprune", "top_k_attention", "random", "uniform_grid"]
    )
    @pytest.mark.parametrize("count", [1, 7])
    def test_none_some_and_all(self, recipe: str, count: int) -> None:
        features, saliency = random_case(2, count)
        for keep in (0, 1, count):
            got = scope.select(features, saliency=saliency, spec=f"{recipe}@{keep}")
            assert got.picks.shape == (2, keep)
            assert got.counts == (keep, keep)
        assert got.kept.tolist() == [list(range(count))] * 2

    @pytest.mark.parametrize("partition", ["image", "tile", "prompt"])
    def test_groups_without_a_valid_token_keep_nothing(self, partition: str) -> None:
        features, saliency = random_case(2, 5)
        valid = torch.tensor([[False] * 5, [True] * 5])
        spec = {"recipe": "scope", "budget": 2, "partition": partition}
        assert scope.select(features, saliency=saliency, valid=valid, spec=spec).counts == (0, 2)
        nothing = scope.select(features, saliency=saliency, valid=valid & False, spec=spec)
        assert nothing.picks.shape == (2, 0)
        assert nothing.coverage(0.8).tolist() == [0, 0]

    def test_no_images_at_all(self) -> None:
        features, saliency = random_case(0, 5)
        assert scope.select(features, saliency=saliency, spec="scope@2").counts == ()

    def test_zero_vectors_and_zero_saliency_go_to_the_lowest_index(self) -> None:
        features, saliency = random_case(1, 6)
        assert scope.select(features * 0, saliency=saliency, spec="scope@3").picks.tolist() == [[0, 1, 2]]
        assert scope.select(features, saliency=saliency * 0, spec="scope@3").picks.tolist() == [[0, 1, 2]]

    @pytest.mark.parametrize("size", [1e-30, 1e25])
    def test_the_scale_of_the_features_does_not_matter_to_the_cosine(self, size: float) -> None:
        features, saliency = random_case(1, 20)
        want = scope.select(features, saliency=saliency, spec="scope@8").picks
        assert scope.select(features * size, saliency=saliency, spec="scope@8").picks.equal(want)

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            (
                {"saliency": None},
                SignalError,
                f"saliency 'cls_attention' (scope-core {scope.__version__}) needs vision.cls_attention[-2]",
            ),
            ({"saliency": None}, SignalError, "or use a saliency that needs none: density, feature_norm"),
            ({"saliency": None, "signals": {"projected": torch.rand(1, 6, 8)}}, SignalError, "(given: projected)"),
            ({"layout": [6]}, TokensError, "layout must be a Layout, e.g. Layout.of([576, 576]), not list"),
            ({"layout": Layout.of([5])}, TokensError, "the layout has [5] tokens per image, the tensors [6]"),
        ],
    )
    def test_what_select_refuses(self, options: dict[str, Any], error: type[Exception], text: str) -> None:
        features, saliency = random_case(1, 6)
        with pytest.raises(error) as caught:
            scope.select(features, spec="scope@2", **{"saliency": saliency, **options})
        assert text in str(caught.value)

    def test_a_saliency_that_nothing_reads_needs_no_signal(self) -> None:
        features, _ = random_case(1, 6)
        spec = {"combiner": "coverage_only", "budget": 3}
        assert scope.select(features, spec=spec).picks.equal(scope.select(features, spec="coverage_only@3").picks)

    def test_bad_numbers_name_image_and_tile(self) -> None:
        features, saliency = random_case(2, 6)
        features[1, 4, 2] = float("inf")
        layout = Layout.of([[3, 3], [3, 3]])
        with pytest.raises(TokensError, match="features of image 1, tile 1, token 4 is inf"):
            scope.select(features, saliency=saliency, spec="scope@2", layout=layout)


class TestConstraints:
    def cells(self, **options: Any) -> dict[str, Any]:
        return {"recipe": "scope", "budget": 3, "constraints": [{"name": "cells", **options}]}

    def test_must_keep_and_must_drop(self) -> None:
        features, saliency = random_case(2, 12)
        got = scope.select(
            features, saliency=saliency, grid=(3, 4), spec=self.cells(keep=[[2, 3]], drop=[[0, 0], [1, 1]])
        )
        assert (got.picks[:, 0] == 11).all()
        assert not got.mask[:, [0, 5]].any()
        assert got.counts == (3, 3)

    def test_contradictions_name_the_token_and_the_constraints(self) -> None:
        features, saliency = random_case(1, 12)
        with pytest.raises(SpecError, match=r"constraint 'cells' .* keeps image 0, token 5, but .* drops it"):
            scope.select(features, saliency=saliency, grid=(3, 4), spec=self.cells(keep=[[1, 1]], drop=[[1, 1]]))

    def test_more_required_than_the_budget(self) -> None:
        features, saliency = random_case(1, 12)
        every = [[0, col] for col in range(4)]
        with pytest.raises(BudgetError, match="4 tokens must be kept, but the budget is 3"):
            scope.select(features, saliency=saliency, grid=(3, 4), spec=self.cells(keep=every))

    def test_fewer_left_than_the_budget(self) -> None:
        features, saliency = random_case(1, 4)
        with pytest.raises(BudgetError, match="cannot keep 3 of 2 candidate tokens"):
            scope.select(features, saliency=saliency, grid=(2, 2), spec=self.cells(drop=[[0, 0], [1, 1]]))


class TestInputs:
    def test_inputs_are_left_as_they_were(self) -> None:
        features, saliency = random_case(2, 20)
        features = features.mT.contiguous().mT.requires_grad_()
        before = features.detach().clone(), saliency.clone()
        assert not features.is_contiguous()
        got = scope.select(features, saliency=saliency, spec="scope@5")
        assert features.requires_grad
        assert features.grad is None
        assert not got.gains.requires_grad
        assert features.detach().equal(before[0])
        assert saliency.equal(before[1])

    def test_selection_is_on_by_default_float32_and_the_rest_on_request(self) -> None:
        features, saliency = random_case(1, 20)
        seen = {}
        for dtype in ("float32", "float64", "as_is"):
            spec = {"recipe": "scope", "budget": 5, "dtype": dtype}
            seen[dtype] = scope.select(
                features.bfloat16(), saliency=saliency.bfloat16(), spec=spec
            ).tokens.features.dtype
        assert seen == {"float32": torch.float32, "float64": torch.float64, "as_is": torch.bfloat16}

    def test_a_batch_equals_its_rows_one_by_one(self, photo_features: Photos) -> None:
        features, saliency = photo_features.features, photo_features.saliency
        for recipe in ("scope@64", "divprune@64", "top_k_attention@64", "random@64", "uniform_grid@64"):
            together = scope.select(features, saliency=saliency, spec=recipe)
            for row in range(3):
                alone = scope.select(features[row], saliency=saliency[row], spec=recipe)
                assert together.picks[row].equal(alone.picks[0]), recipe

    def test_padding_changes_no_pick(self) -> None:
        features, saliency = random_case(1, 20)
        padded = torch.cat([features[:, :9], torch.full((1, 7, 8), float("nan")), features[:, 9:]], 1)
        valid = torch.ones(1, 27, dtype=torch.bool)
        valid[0, 9:16] = False
        weights = torch.cat([saliency[:, :9], torch.full((1, 7), float("nan")), saliency[:, 9:]], 1)
        want = scope.select(features, saliency=saliency, spec="scope@12").picks[0]
        got = scope.select(padded, saliency=weights, valid=valid, spec="scope@12").picks[0]
        assert got.tolist() == [int(p) + 7 * int(p >= 9) for p in want]

    @given(st.permutations(range(15)), st.sampled_from(["scope@8", "top_k_attention@8"]))
    def test_permuting_the_tokens_permutes_the_picks(self, order: list[int], spec: str) -> None:
        features, saliency = random_case(1, 15)
        want = scope.select(features, saliency=saliency, spec=spec).picks[0].tolist()
        got = scope.select(features[:, order], saliency=saliency[:, order], spec=spec).picks[0].tolist()
        assert [order[pick] for pick in got] == want

    @given(st.permutations(range(15)))
    def test_where_ties_are_real_permuted_picks_are_as_good(self, order: list[int]) -> None:
        features, _ = random_case(1, 15)  # two tokens that only cover, or are only near, each other tie exactly
        similarity = oracles.cosine_matrix(features[0].numpy())
        for spec in ("divprune@8", "coverage_only@8"):
            got = scope.select(features[:, order], spec=spec).picks[0].tolist()
            picks = [order[pick] for pick in got]
            regrets = oracles.max_min_regrets(similarity, picks)
            if spec == "coverage_only@8":
                regrets = oracles.scope_regrets(similarity, [1.0] * 15, picks)
            assert max(regrets) < 1e-6

    def test_one_pruner_serves_many_threads(self) -> None:
        pruner = Pruner("scope@10")
        cases = [random_case(2, 40, seed) for seed in range(8)]
        want = [pruner.select(features, saliency=saliency).picks for features, saliency in cases]
        got: dict[int, torch.Tensor] = {}

        def work(number: int) -> None:
            for _ in range(5):
                got[number] = pruner.select(cases[number][0], saliency=cases[number][1]).picks

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(got[number].equal(picks) for number, picks in enumerate(want))
