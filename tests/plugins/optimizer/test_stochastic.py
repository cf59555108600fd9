"""`stochastic`: greedy on seeded samples."""

from __future__ import annotations

import torch
from conftest import Photos
from fakes import random_case

import scope_core as scope


def test_it_is_seeded_and_padding_changes_nothing() -> None:
    features, saliency = random_case(2, 40, seed=6)
    spec = {"recipe": "scope", "optimizer": {"name": "stochastic", "seed": 3}, "budget": 8}
    once = scope.select(features, saliency=saliency, spec=spec).picks
    assert once.equal(scope.select(features, saliency=saliency, spec=spec).picks)
    assert once[1:].equal(scope.select(features[1:], saliency=saliency[1:], spec=spec).picks)
    other = {**spec, "optimizer": {"name": "stochastic", "seed": 4}}
    assert not once.equal(scope.select(features, saliency=saliency, spec=other).picks)
    wide, more = torch.cat([features, features], 1), torch.cat([saliency, saliency], 1)
    valid = torch.arange(80).expand(2, 80) < 40
    assert once.equal(scope.Pruner(spec).select(wide, saliency=more, valid=valid).picks)


def test_a_sample_of_everything_is_greedy() -> None:
    features, saliency = random_case(1, 30, seed=7)
    spec = {"recipe": "scope", "budget": 9, "optimizer": {"name": "stochastic", "epsilon": 1e-6}}
    greedy = scope.select(features, saliency=saliency, spec="scope@9").picks
    assert scope.select(features, saliency=saliency, spec=spec).picks.equal(greedy)


def test_it_covers_nearly_as_much(photo_features: Photos) -> None:
    spec = {"recipe": "coverage_only", "budget": 32}
    exact = scope.select(photo_features.features, spec=spec).gains.sum(1)
    sampled = scope.select(photo_features.features, spec={**spec, "optimizer": "stochastic"}).gains.sum(1)
    assert (sampled >= 0.9 * exact).all()
    assert (sampled <= exact * 1.01).all()


def test_a_default_device_elsewhere_does_not_matter() -> None:
    features, saliency = random_case(1, 12)
    draws = {"saliency": "random", "optimizer": "stochastic"}
    for spec in ({"recipe": "scope", "budget": 4}, {"recipe": "scope", "budget": 4, **draws}):
        wanted = scope.select(features, saliency=saliency, spec=spec).picks
        with torch.device("meta"):
            assert scope.select(features, saliency=saliency, spec=spec).picks.equal(wanted)
