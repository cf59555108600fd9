"""Coverage functions: gains against the oracle, incremental against from scratch, and declared properties."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import offers
import oracles
import pytest
import torch
from conftest import Photos
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from scope_core import VisualTokens


def cosines(seed: int, count: int, width: int = 4) -> np.ndarray:
    return oracles.cosine_matrix(np.random.default_rng(seed).normal(size=(count, width)))


def gains_along(coverage: Any, similarity: np.ndarray, order: list[int]) -> list[np.ndarray]:
    """Gains of every token before each pick of ``order`` and after the last."""
    matrix = torch.tensor(similarity)[None]
    state = coverage.start(matrix, VisualTokens.of(torch.ones(1, len(similarity), 2, dtype=matrix.dtype)))
    made = [coverage.gain(state)[0].numpy().copy()]
    for pick in order:
        state = coverage.add(state, torch.tensor([pick]))
        made.append(coverage.gain(state)[0].numpy().copy())
    return made


class TestFacilityLocation:
    @given(st.integers(0, 10_000), st.integers(1, 12), st.data())
    def test_gains_are_those_of_the_set_function(self, seed: int, count: int, data: st.DataObject) -> None:
        similarity = cosines(seed, count)
        order = data.draw(st.permutations(range(count)))
        coverage = built(scope.default_registry(), "coverage", "facility_location")
        for step, gains in enumerate(gains_along(coverage, similarity, order)):
            value = oracles.facility_value(similarity, order[:step])
            expected = [oracles.facility_value(similarity, {*order[:step], j}) - value for j in range(count)]
            np.testing.assert_allclose(gains, expected, atol=1e-12)

    def test_hundreds_of_updates_do_not_drift(self, registry: scope.Registry, photo_features: Photos) -> None:
        features, saliency = photo_features.one("coffee")
        chosen = scope.select(features, saliency=saliency, spec="scope@576", registry=registry)
        matrix = built(registry, "similarity", "cosine").pairwise(chosen.tokens)
        coverage = built(registry, "coverage", "facility_location")
        state = coverage.start(matrix, chosen.tokens)
        for step, pick in enumerate(chosen.picks[0]):
            state = coverage.add(state, pick[None])
            if step % 96 == 95:
                covered = matrix[0][:, chosen.picks[0, : step + 1]].amax(1).clamp(min=0).double()
                scratch = (matrix[0].double() - covered[:, None]).clamp(min=0).sum(0)
                torch.testing.assert_close(coverage.gain(state)[0].double(), scratch, atol=1e-9, rtol=0)

    def test_exhausted_gains_are_not_negative(self, registry: scope.Registry, photo_features: Photos) -> None:
        features, saliency = photo_features.one("astronaut")
        chosen = scope.select(features, saliency=saliency, spec="scope@576", registry=registry)
        assert chosen.gains.min() > -1e-12
        assert sorted(chosen.picks[0].tolist()) == list(range(576))

    @offers.half_clamp
    def test_half_precision_sums_every_row_again(self, registry: scope.Registry) -> None:
        similarity = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0)).half()
        tokens = VisualTokens.of(torch.ones(1, 20, 2, dtype=torch.float16))
        coverage = built(registry, "coverage", "facility_location")
        state = coverage.add(coverage.start(similarity, tokens), torch.tensor([3]))
        scratch = (similarity - similarity[:, :, 3:4]).clamp(min=0).sum(1)
        assert coverage.gain(state).dtype == torch.float16
        assert coverage.gain(state).equal(scratch)


class TestMaxMin:
    def test_by_hand(self, registry: scope.Registry) -> None:
        similarity = np.array([[1, 0.5, 0.25], [0.5, 1, -0.5], [0.25, -0.5, 1]])
        first, second, third = gains_along(built(registry, "coverage", "max_min"), similarity, [2, 1])
        assert first.tolist() == [0.5, 0.5, 0.75]
        assert second.tolist()[:2] == [0.75, 1.5]
        assert third.tolist()[0] == 0.5

    def test_a_single_token_and_padding(self, registry: scope.Registry) -> None:
        features = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
        valid = torch.tensor([[False, True, False, True, True, False]])
        got = scope.select(features, valid=valid, spec="divprune@3", registry=registry)
        expected = oracles.max_min_picks(oracles.cosine_matrix(features[0].numpy()), 3, valid[0].numpy())[0]
        assert got.picks[0].tolist() == expected
        assert scope.select(features[:, :1], spec="divprune@1", registry=registry).picks.tolist() == [[0]]


def test_modular_gains_are_one_for_ever(registry: scope.Registry) -> None:
    coverage = built(registry, "coverage", "modular")
    assert not coverage.uses_similarity
    assert all((gains == 1).all() for gains in gains_along(coverage, cosines(0, 5), [3, 1]))


@pytest.mark.parametrize("name", ["facility_location", "max_min", "modular"])
@given(seed=st.integers(0, 10_000), order=st.permutations(range(8)))
def test_declared_monotone_and_submodular_hold(name: str, seed: int, order: list[int]) -> None:
    coverage = built(scope.default_registry(), "coverage", name)
    steps = gains_along(coverage, cosines(seed, 8), order)
    for number, (before, after) in enumerate(itertools.pairwise(steps)):
        left = order[number + 1 :]
        if coverage.monotone:
            assert (after[left] >= -1e-12).all()
        if coverage.submodular:
            assert (after[left] <= before[left] + 1e-12).all()


@pytest.mark.parametrize("name", ["facility_location", "max_min", "modular"])
def test_the_states_of_two_calls_are_apart(name: str, registry: scope.Registry) -> None:
    coverage = built(registry, "coverage", name)
    similarity = cosines(1, 6)
    alone = gains_along(coverage, similarity, [4, 2])
    matrix, tokens = torch.tensor(similarity)[None], VisualTokens.of(torch.ones(1, 6, 2, dtype=torch.float64))
    one, other = coverage.start(matrix, tokens), coverage.start(matrix, tokens)
    one = coverage.add(one, torch.tensor([4]))
    other = coverage.add(other, torch.tensor([0]))
    one = coverage.add(one, torch.tensor([2]))
    np.testing.assert_array_equal(coverage.gain(one)[0], alone[2])
    assert matrix[0].numpy().tolist() == similarity.tolist()
