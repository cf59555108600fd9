"""`global_query`: against its oracle, with padding in images."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_padding_counts_for_nothing(registry: scope.Registry) -> None:
    make = torch.Generator().manual_seed(0)
    queries, keys, hidden = (
        torch.randn(2, *shape, generator=make, dtype=torch.float64) for shape in ((4, 9, 8), (2, 9, 8), (9, 6))
    )
    names = ("decoder.image_queries[3]", "decoder.plain_keys[3]", "decoder.hidden[3]")
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[1, 6:] = False
    signals = dict(zip(names, (queries, keys, hidden), strict=True))
    tokens = VisualTokens.of(hidden, valid=valid, signals=signals)
    got = built(registry, "saliency", {"name": "global_query", "layer": 3}).score(tokens)
    for group, count in enumerate((9, 6)):
        cut = queries[group, :, :count], keys[group, :, :count], hidden[group, :count]
        wanted = oracle.global_query(*(part.numpy() for part in cut))
        np.testing.assert_allclose(got[group, :count].numpy(), wanted, atol=1e-12)
