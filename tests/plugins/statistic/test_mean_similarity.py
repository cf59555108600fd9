"""`mean_similarity`: over pairs of different tokens."""

from __future__ import annotations

import numpy as np
import oracles_adaptive as oracle
import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_is_the_mean_over_pairs() -> None:
    part = built(REGISTRY, "statistic", "mean_similarity")
    x = torch.randn(1, 12, 5, dtype=torch.float64)
    valid = torch.arange(12)[None] < 9
    cosine = oracle.cosines(x[0, :9].numpy())
    wanted = np.mean([cosine[i, j] for i in range(9) for j in range(9) if i != j])
    assert float(part.measure(VisualTokens.of(x, valid=valid))) == pytest.approx(wanted, abs=1e-9)
    assert float(part.measure(VisualTokens.of(torch.ones(1, 12, 5)))) == pytest.approx(1)
    assert float(part.measure(VisualTokens.of(torch.ones(1, 1, 5)))) == 0
