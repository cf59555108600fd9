"""`scope_plus` and `scope_text`, the recipes of this project, against oracles; and what they share with SCOPE."""

from __future__ import annotations

import oracles_recent as oracle
import pytest
import torch
from conftest import Photos

import scope_core as scope


def given(photos: Photos, name: str, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features, keys of two heads, and attention of one photograph, in float64."""
    features, saliency = photos.one(name)
    keys = torch.randn(1, 2, 576, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return features.double(), keys, saliency.double()


@pytest.mark.parametrize("keep", [16, 64])
@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_picks_are_the_oracles(name: str, keep: int, photo_features: Photos) -> None:
    features, keys, attention = given(photo_features, name, keep)
    signals = {"vision.cls_attention[-2]": attention[:, None], "vision.keys[-2]": keys}
    spec = {"recipe": "scope_plus", "budget": keep, "dtype": "float64"}
    joined = keys[0].transpose(0, 1).flatten(1).numpy()
    weights = attention[0].numpy()
    got = scope.select(features, signals=signals, spec=spec)
    assert got.picks[0].tolist() == oracle.scope_plus(joined, weights, keep)
    text = torch.randn(1, 7, features.shape[2], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signals = {**signals, "text.embeddings": text, "projected": features}
    got = scope.select(features, signals=signals, spec={**spec, "recipe": "scope_text"})
    relevant = oracle.prompt_relevance(text[0].numpy(), features[0].numpy(), 0.05)
    both = weights / weights.mean() * relevant / relevant.mean()
    assert got.picks[0].tolist() == oracle.scope_plus(joined, both, keep)


def test_scope_plus_can_be_served_and_plans_exact_counts() -> None:
    pruner = scope.Pruner("scope_plus@32")
    assert pruner.plan([576]).images == (32,)
    assert pruner.plan([576]).exact
    assert all(name.startswith("vision.") for name in pruner.needs)
