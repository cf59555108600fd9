"""`density`: against plain loops, and padding, which counts for nothing."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_a_sum_that_falls_with_distance(registry: scope.Registry) -> None:
    features = torch.randn(1, 12, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens = VisualTokens.of(features, valid=torch.arange(12)[None] < 9)
    for width in (0.3, 2.0):
        part = built(registry, "saliency", {"name": "density", "similarity": "cosine", "width": width})
        apart = oracle.distances(features[0, :9].numpy())
        wanted = [sum(np.exp(-((d / width) ** 2)) for d in row) for row in apart]
        np.testing.assert_allclose(part.score(tokens)[0, :9].numpy(), wanted, atol=1e-12)
