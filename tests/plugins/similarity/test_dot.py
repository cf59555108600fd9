"""`dot`: dot products, scaled or not."""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch

import scope_core as scope
from plugins.similarity.cases import pairwise_of


@pytest.mark.parametrize("scaled", [False, True])
def test_by_the_formula(scaled: bool, registry: scope.Registry) -> None:
    features = torch.randn(9, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = oracles.dot_matrix(features.numpy()) / (4 if scaled else 1)
    np.testing.assert_allclose(pairwise_of(registry, {"name": "dot", "scaled": scaled}, features), expected, atol=1e-13)
