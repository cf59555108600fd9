"""`facility_location`: gains against the oracle, without drift."""

from __future__ import annotations

import numpy as np
import offers
import oracles
import torch
from conftest import Photos
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

import scope_core as scope
from plugins.coverage.cases import cosines, gains_along
from scope_core import VisualTokens


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
