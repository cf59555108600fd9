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


@pytest.mark.parametrize(("size", "order"), [(1e-25, 2.0), (1e-5, 10.0), (1e25, 2.0), (1e-30, 0.5)])
def test_powers_that_leave_the_range_of_float32(size: float, order: float, registry: scope.Registry) -> None:
    """Squares of 1e-25 are 0 in float32; the norm is not, and tokens must not look alike."""
    features = torch.randn(1, 5, 7, generator=torch.Generator().manual_seed(0))
    source = built(registry, "saliency", {"name": "feature_norm", "order": order})
    got = source.score(VisualTokens.of(features * size))
    torch.testing.assert_close(got / size, source.score(VisualTokens.of(features)), rtol=1e-5, atol=0)
    assert source.score(VisualTokens.of(features * 0)).eq(0).all()
