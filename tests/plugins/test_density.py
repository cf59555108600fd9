"""Distances of density peaks: each pair as by itself, whatever the scale and the dtype."""

from __future__ import annotations

import pytest
import torch

from scope_plugins._density import distances, peaks


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e25])
def test_are_those_of_pairs_in_float64(scale: float) -> None:
    x = torch.randn(23, 7, generator=torch.Generator().manual_seed(0))
    x[4] = x[17]
    got = distances(x * scale)
    wanted = (x.double()[:, None] - x.double()[None]).square().sum(-1).sqrt() * scale
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=0)
    assert torch.equal(got, got.T)
    assert torch.equal(got[4, :4], got[17, :4])
    assert got[4, 17] == 0


def test_half_precision_is_computed_in_single() -> None:
    x = torch.randn(9, 300, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(distances(x), distances(x.float()).bfloat16())


def test_one_token_is_its_own_peak() -> None:
    score, distance = peaks(torch.ones(1, 3), 4)
    assert (score.shape, distance.tolist()) == ((1,), [[0.0]])
