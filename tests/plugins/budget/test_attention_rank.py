"""`attention_rank`: SparseVLM's counts, from attention of a known rank."""

from __future__ import annotations

import oracles_decoder as oracle
import pytest
import torch

from plugins.decoder_cases import alone, one, select, signals


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0])
def test_counts_follow_the_rank(scale: float) -> None:
    """SparseVLM's own rule, on attention of a known rank."""
    draw = torch.Generator().manual_seed(4)
    features = torch.randn(1, 40, 8, generator=draw)
    read = signals(features, (0, 2), seed=5)
    chosen = oracle.raters(one(read, "vision_hidden", 0), one(read, "text_hidden", 0))
    rank = 3
    low = torch.rand(24, rank, generator=draw) @ torch.rand(rank, 40, generator=draw)
    read["decoder.text_attention[2]"] = low[None, None].expand(1, 4, 24, 40)
    budget = {"name": "attention_rank", "layer": 2, "scale": scale}
    pruner = alone("sparsevlm", budget=budget, merger="none")
    assert not pruner.plan([40]).exact
    assert pruner.plan([40]).total == 40
    got = select(pruner, features, read)
    assert got.counts == (40 - int(scale * (40 - min(rank, len(chosen)))),)
