"""`components`: connected by similarity."""

from __future__ import annotations

import oracles_adaptive as oracle
import torch
from fakes import built
from hypothesis import given
from hypothesis import strategies as st

from plugins.cases import REGISTRY
from scope_core import VisualTokens


@given(st.integers(0, 30), st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]))
def test_are_those_of_a_search(seed: int, threshold: float) -> None:
    x = torch.randn(1, 17, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    valid = torch.arange(17)[None] != 4
    part = built(REGISTRY, "partition", {"name": "components", "threshold": threshold})
    labels = part.label(VisualTokens.of(x, valid=valid), [5])[0]
    assert int(labels[4]) == -1
    pieces = oracle.components(x[0, valid[0]].numpy(), threshold)
    got = labels[valid[0]]
    assert [set((got == number).nonzero().flatten().tolist()) for number in range(len(pieces))] == pieces


def test_a_chain_of_similar_tokens_is_one_piece() -> None:
    """Its ends are not similar at all; a chain as long as the image takes several steps to find."""
    turn = torch.arange(200) * 0.1
    ring = torch.stack([turn.cos(), turn.sin(), 0.02 * turn], 1)[torch.randperm(200)]
    part = built(REGISTRY, "partition", {"name": "components", "threshold": 0.99})
    assert part.label(VisualTokens.of(ring), [5]).unique().tolist() == [0]
    apart = torch.cat([ring, -ring[:1] + torch.tensor([[0.0, 0.0, -9.0]])])
    assert part.label(VisualTokens.of(apart), [5]).unique().tolist() == [0, 1]
