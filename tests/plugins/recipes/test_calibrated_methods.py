"""Methods with head weights or a position prior, pick for pick against their oracles."""

from __future__ import annotations

import numpy as np
import oracles_calibrated as oracle
import pytest
import torch
from conftest import Photos

from scope_core import Pruner

GRID, KEEP = (24, 24), 40


@pytest.mark.parametrize("name", ["astronaut", "coffee"])
def test_hawk(name: str, photo_features: Photos) -> None:
    features = photo_features.one(name)[0].double()
    make = torch.Generator().manual_seed(3)
    queries = torch.randn(1, 4, 9, 8, generator=make, dtype=torch.float64)
    keys = torch.randn(1, 2, 576, 8, generator=make, dtype=torch.float64) + features[:, None, :, :8]
    queries = torch.cat([queries, torch.zeros(1, 4, 2, 8).double()], 2)  # the padding of a shorter text
    signals = {"decoder.plain_queries[0]": queries, "decoder.plain_keys[0]": keys}
    for weights in ([1.0, 1.0, 1.0, 1.0], [0.0, 3.0, 0.5, 1.5]):
        pruner = Pruner("hawk", saliency={"weights": weights}, budget=KEEP, dtype="float64")
        wanted = oracle.hawk(queries[0, :, :9].numpy(), keys[0].numpy(), weights)
        got = pruner.select(features, signals=signals, grid=GRID)
        assert got.picks[0].tolist() == oracle.ranked(np.round(wanted, 12))[:KEEP]
    plain = Pruner("hawk", budget=KEEP, dtype="float64").select(features, signals=signals, grid=GRID)
    even = Pruner("hawk", saliency={"weights": [1.0] * 4}, budget=KEEP, dtype="float64")
    assert plain.picks.equal(even.select(features, signals=signals, grid=GRID).picks)
    assert Pruner("hawk").plan([576]).total == 114
