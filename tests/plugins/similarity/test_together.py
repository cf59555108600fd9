"""Properties that similarities declare."""

from __future__ import annotations

import torch
from conftest import Photos
from fakes import built, least

import scope_core as scope
from scope_core import VisualTokens


def test_declared_bounds_hold(registry: scope.Registry, photo_features: Photos) -> None:
    keys = photo_features.features[:, None]
    signals = {"vision.hidden[-2]": photo_features.features, "vision.keys[-2]": keys, "decoder.keys[1]": keys}
    tokens = VisualTokens.of(photo_features.features, grid=photo_features.grid, signals=signals)
    for record in registry.records("similarity"):
        metric = built(registry, "similarity", least(registry, "similarity", record.name))
        matrix = metric.pairwise(tokens)
        low, high = metric.bounds
        assert low is None or matrix.min() >= low - 1e-6
        assert high is None or matrix.max() <= high + 1e-6
        if metric.symmetric:
            torch.testing.assert_close(matrix, matrix.mT)
