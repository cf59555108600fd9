"""`log_det_float32`: the picks of `log_det` up to the rank of the similarity, and K picks beyond it.

Equal to the release's order of operations beyond the rank: tests/plugins/recipes/test_half_precision.py.
"""

from __future__ import annotations

import math

import pytest
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_it_picks_as_log_det_does(photo_features: Photos) -> None:
    features = torch.randn(2, 200, 64, generator=torch.Generator().manual_seed(0))
    spec = {"recipe": "divprune", "budget": 40}
    exact = scope.select(features, spec={**spec, "coverage": "log_det"})
    rounded = scope.select(features, spec={**spec, "coverage": "log_det_float32"})
    assert rounded.picks.equal(exact.picks)
    torch.testing.assert_close(rounded.gains.log().double(), exact.gains, rtol=1e-3, atol=1e-4)


def test_gains_are_variances(registry: scope.Registry) -> None:
    matrix = torch.tensor([[[2.0, 1.0], [1.0, 1.0]]])
    coverage = built(registry, "coverage", "log_det_float32")
    state = coverage.start(matrix, VisualTokens.of(torch.ones(1, 2, 2)))
    assert coverage.gain(state).tolist() == [[2, 1]]
    assert coverage.gain(coverage.add(state, torch.tensor([0])))[0, 1] == pytest.approx(0.5)


def test_beyond_the_rank_every_token_is_still_picked_once() -> None:
    features = torch.randn(1, 90, 4, generator=torch.Generator().manual_seed(1))
    for given in (features, torch.ones(1, 90, 4)):
        got = scope.select(given, spec={"recipe": "divprune", "coverage": "log_det_float32", "budget": 80})
        assert len(set(got.picks[0].tolist())) == 80
        assert all(math.isfinite(gain) for gain in got.gains[0].tolist())
