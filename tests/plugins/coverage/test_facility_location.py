"""`facility_location`: gains against the oracle, without drift, and the weights of rows."""

from __future__ import annotations

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
from plugins.coverage.cases import cosines, gains_along
from scope_core import VisualTokens

NORM = {"name": "facility_location", "weights": "feature_norm"}


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


@given(st.integers(0, 10_000), st.integers(1, 12), st.data())
def test_gains_are_those_of_the_weighted_set_function(seed: int, count: int, data: st.DataObject) -> None:
    similarity, random = cosines(seed, count), np.random.default_rng(seed)
    order = data.draw(st.permutations(range(count)))
    features = random.normal(size=(count, 3)) * (random.random(count) > 0.2)[:, None]  # some weigh nothing
    weights = np.linalg.norm(features, axis=1)
    coverage = built(scope.default_registry(), "coverage", NORM)
    state = coverage.start(torch.tensor(similarity)[None], VisualTokens.of(torch.tensor(features)[None]))

    def value(kept: list[int]) -> float:
        return sum(w * max([0.0, *(row[j] for j in kept)]) for w, row in zip(weights, similarity, strict=True))

    for step, pick in enumerate(order):
        expected = [value([*order[:step], j]) - value(order[:step]) for j in range(count)]
        np.testing.assert_allclose(coverage.gain(state)[0], expected, atol=1e-11)
        state = coverage.add(state, torch.tensor([pick]))


@pytest.mark.parametrize("combiner", ["coverage_only", "product"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("coverage", [NORM, {"name": "stacked", "of": [NORM, "facility_location"]}])
def test_every_way_makes_the_same_picks(coverage: object, dtype: str, combiner: str, photo_features: Photos) -> None:
    """To the last bit, ties included: rounded features repeat."""
    x = photo_features.features
    for features in (x, x.round(), x[:, :60] * 1e-3):
        spec = {"recipe": "scope", "coverage": coverage, "combiner": combiner, "budget": 40, "dtype": dtype}
        given = {"saliency": photo_features.saliency[:, : features.shape[1]]}
        loop = scope.select(features, spec={**spec, "optimizer": {"name": "greedy", "path": "loop"}}, **given)
        fast = scope.select(features, spec=spec, **given)
        assert fast.picks.equal(loop.picks)
        assert fast.gains.equal(loop.gains)
        assert fast.scores.equal(loop.scores)


def test_in_blocks(photo_features: Photos) -> None:
    features, saliency = photo_features.features, photo_features.saliency
    spec = {"recipe": "scope", "coverage": {**NORM, "weights": "feature_norm"}, "budget": 64}
    whole = scope.select(features, saliency=saliency, spec={**spec, "dtype": "float64"})
    optimizer = {"name": "greedy", "path": "blocks"}
    blocks = scope.select(features, saliency=saliency, spec={**spec, "optimizer": optimizer, "dtype": "float64"})
    assert blocks.picks.equal(whole.picks)
    torch.testing.assert_close(blocks.gains, whole.gains, rtol=1e-6, atol=1e-6)


def test_equal_weights_change_no_pick(photo_features: Photos) -> None:
    features, saliency = photo_features.features, photo_features.saliency
    uniform = {"recipe": "scope", "coverage": {"name": "facility_location", "weights": "uniform"}, "budget": 64}
    got, plain = (scope.select(features, saliency=saliency, spec=spec) for spec in (uniform, "scope@64"))
    assert got.picks.equal(plain.picks)
    assert got.gains.equal(plain.gains)


def test_weights_of_signals_are_read_once_and_checked(photo_features: Photos, registry: scope.Registry) -> None:
    spec = {"recipe": "coverage_only", "coverage": {"name": "facility_location", "weights": "cls_attention"}}
    pruner = scope.Pruner({**spec, "budget": 16}, registry=registry)
    assert pruner.needs == {"vision.cls_attention[-2]"}
    attention = torch.rand(3, 4, 576, generator=torch.Generator().manual_seed(0)) / 576
    got = pruner.select(photo_features.features, signals={"vision.cls_attention[-2]": attention})
    weighted = np.einsum(
        "bi,bij->bij",
        attention.sum(1).double().numpy(),
        np.stack([oracles.cosine_matrix(each.numpy()) for each in photo_features.features]),
    )
    for group in range(3):
        assert got.picks[group, 0] == int(weighted[group].clip(min=0).sum(0).argmax())
    negative = {**spec, "coverage": {"name": "facility_location", "weights": "text_relevance"}, "budget": 16}
    with pytest.raises(
        scope.TokensError, match=r"weights of at least 0, but saliency 'text_relevance'.* image 0, token"
    ):
        scope.select(photo_features.features, signals={"clip.text_similarity": torch.ones(3, 1, 576)}, spec=negative)
