"""`shortlist`: another selector sees the most salient tokens only."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from scope_core import Pruner

SALIENCY = torch.arange(20.0)[None]
LIST = {"name": "shortlist", "saliency": "cls_attention", "share": 0.45}


def picks(of: object, budget: int, **more: torch.Tensor) -> list[int]:
    features = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(0))
    selection = Pruner({"selector": {**LIST, "of": of}, "budget": budget}).select(features, saliency=SALIENCY, **more)
    assert selection.tokens.valid.all()
    return [token for token in selection.picks[0].tolist() if token >= 0]


def test_others_are_not_picked() -> None:
    spread = {"name": "composite", "saliency": "uniform", "coverage": "max_min", "combiner": "coverage_only"}
    found = picks(spread, 5)
    assert len(found) == 5
    assert min(found) >= 11  # 9 of 20 are listed
    assert sorted(picks(spread, 12)) == list(range(8, 20))  # more must be kept than are listed
    stop = {"name": "suppress", "threshold": -2.0, "then": "stop"}  # the first suppresses all others
    assert picks(stop, 12) == [19]
    anchors = {"name": "anchors", "saliency": "feature_norm", "similarity": "cosine"}
    assert set(picks(anchors, 12)) <= set(range(11, 20))  # asked for no more than are listed


@pytest.mark.parametrize("share", [0, 1.1])
def test_shares_out_of_range(share: float) -> None:
    with pytest.raises(scope.SpecError, match="share"):
        Pruner({"selector": {**LIST, "share": share, "of": "composite"}, "budget": 3})
