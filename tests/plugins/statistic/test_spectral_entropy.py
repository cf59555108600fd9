"""`spectral_entropy`: from 0, one direction, to 1, all alike."""

from __future__ import annotations

import numpy as np
import oracles_adaptive as oracle
import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def entropy(features: torch.Tensor, **options: object) -> float:
    part = built(REGISTRY, "statistic", {"name": "spectral_entropy", **options})
    return float(part.measure(VisualTokens.of(features)))


def test_is_the_formula() -> None:
    for shape in ((40, 9), (9, 40)):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        assert entropy(x) == pytest.approx(oracle.spectral_entropy(x.numpy()), abs=1e-9)


def test_limits() -> None:
    """Orthogonal directions of one length are even; tokens on a line have one direction; equal tokens none."""
    assert entropy(torch.eye(8, dtype=torch.float64), centred=False) == pytest.approx(1)
    assert entropy(torch.arange(1.0, 9)[:, None] * torch.ones(3), centred=False) == pytest.approx(0, abs=1e-6)
    for flat in (torch.full((576, 16), 0.3), torch.zeros(5, 4), torch.ones(1, 4), torch.full((9, 1000), 1 / 3)):
        assert entropy(flat) == 0


def test_padding_does_not_count() -> None:
    x = torch.randn(1, 20, 6, dtype=torch.float64)
    valid = torch.arange(20)[None] < 12
    part = built(REGISTRY, "statistic", "spectral_entropy")
    got = part.measure(VisualTokens.of(x.masked_fill(~valid[..., None], 7), valid=valid))
    np.testing.assert_allclose(got, part.measure(VisualTokens.of(x[:, :12])), rtol=1e-12)
