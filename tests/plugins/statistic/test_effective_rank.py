"""`effective_rank`: a number of directions."""

from __future__ import annotations

import oracles_adaptive as oracle
import pytest
import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_counts_directions() -> None:
    part = built(REGISTRY, "statistic", "effective_rank")
    for number in (1, 3, 8):
        x = torch.zeros(24, 8, dtype=torch.float64)
        x[torch.arange(24), torch.arange(24) % number] = 2.5
        assert float(part.measure(VisualTokens.of(x))) == pytest.approx(number)
    x = torch.randn(30, 7, dtype=torch.float64)
    assert float(part.measure(VisualTokens.of(x))) == pytest.approx(oracle.effective_rank(x.numpy()), rel=1e-9)
    halved = built(REGISTRY, "statistic", {"name": "effective_rank", "over": 2.0})
    assert float(halved.measure(VisualTokens.of(x))) == pytest.approx(oracle.effective_rank(x.numpy()) / 2, rel=1e-9)


def test_equal_tokens_are_one_direction() -> None:
    part = built(REGISTRY, "statistic", "effective_rank")
    assert float(part.measure(VisualTokens.of(torch.full((9, 4), 0.3, dtype=torch.float64)))) == pytest.approx(
        1, abs=1e-5
    )
    assert float(part.measure(VisualTokens.of(torch.zeros(9, 4)))) == 1
