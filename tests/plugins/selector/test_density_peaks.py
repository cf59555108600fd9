"""`density_peaks`: against an oracle, with ties, required tokens and padding."""

from __future__ import annotations

import oracles_video as oracle
import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_are_those_of_the_oracle() -> None:
    x = torch.randn(2, 14, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0, 5] = x[0, 9]  # as dense as each other
    valid = torch.arange(14) < torch.tensor([[14], [11]])
    part = built(REGISTRY, "selector", {"name": "density_peaks", "neighbours": 3})
    got = part.select(VisualTokens.of(x, valid=valid), [14, 6])
    assert got.picks[0].tolist() == oracle.peaks(x[0].numpy(), 3)
    assert got.picks[1, :6].tolist() == oracle.peaks(x[1, :11].numpy(), 3)[:6]


def test_required_tokens_come_first_and_equal_ones_in_order() -> None:
    required = torch.tensor([[False, False, False, True, False]])
    part = built(REGISTRY, "selector", "density_peaks")
    got = part.select(VisualTokens.of(torch.ones(1, 5, 2), required=required), [3])
    assert got.picks.tolist() == [[3, 0, 1]]
