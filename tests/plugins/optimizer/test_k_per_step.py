"""`k_per_step`: several picks from one set of gains."""

from __future__ import annotations

import oracles
import oracles_sets
import torch
from conftest import Photos
from fakes import random_case

import scope_core as scope


def test_one_per_step_is_greedy_and_all_at_once_is_top_k(photo_features: Photos) -> None:
    features, saliency = photo_features.features, photo_features.saliency
    for step, optimizer in ((1, "greedy"), (40, "top_k")):
        spec = {"recipe": "scope", "optimizer": {"name": "k_per_step", "step": step}, "budget": 40}
        got = scope.select(features, saliency=saliency, spec=spec)
        want = scope.select(features, saliency=saliency, spec={**spec, "optimizer": optimizer})
        assert got.picks.equal(want.picks)
        torch.testing.assert_close(got.gains.double(), want.gains.double())


def test_several_per_step_against_an_obvious_loop() -> None:
    features, saliency = random_case(1, 30, seed=5)
    spec = {"recipe": "scope", "optimizer": {"name": "k_per_step", "step": 4}, "budget": 10}
    S, a = oracles.cosine_matrix(features[0].numpy()), saliency[0].double().numpy()
    wanted: list[int] = []
    while len(wanted) < 10:
        f = oracles_sets.facility_location(S, wanted)
        gain = [(oracles_sets.facility_location(S, [*wanted, j]) - f) * a[j] for j in range(30)]
        left = [j for j in oracles.top_k_picks(gain, 30) if j not in wanted]
        wanted += left[: min(4, 10 - len(wanted))]
    assert scope.select(features, saliency=saliency, spec=spec).picks[0].tolist() == wanted
