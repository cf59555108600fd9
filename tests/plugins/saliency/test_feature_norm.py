"""`feature_norm`: p-norms of features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


@pytest.mark.parametrize("order", [1.0, 2.0, 3.5])
def test_by_the_formula(order: float, registry: scope.Registry) -> None:
    features = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    got = built(registry, "saliency", {"name": "feature_norm", "order": order}).score(VisualTokens.of(features))
    np.testing.assert_allclose(got, (np.abs(features.numpy()) ** order).sum(-1) ** (1 / order))
