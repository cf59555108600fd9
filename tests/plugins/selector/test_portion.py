"""`portion`: fewer tokens than are asked for, as the image says."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from plugins.selector.cases import TOP_K
from scope_core import Pruner

HALF = {
    "name": "measured",
    "statistic": {"name": "share_above", "saliency": "feature_norm", "threshold": 1.0},
    "least": 0,
}


def test_leaves_the_rest_to_the_next_step() -> None:
    """10 of 30 tokens are long, so a third of 12 is salient; the plan stays exact."""
    features = torch.ones(1, 30, 4) * torch.where(torch.arange(30) < 10, 1.0, 0.1)[:, None]
    chain = {
        "name": "chain",
        "stages": [{"name": "portion", "of": TOP_K, "budget": HALF}, "composite"],
        "shares": [1, 0],
    }
    pruner = Pruner({"selector": chain, "budget": 12})
    got = pruner.select(features, saliency=torch.rand(1, 30))
    assert got.stage is not None
    assert got.stage[0].bincount().tolist() == [4, 8]
    assert pruner.plan([30]).exact
    alone = Pruner({"selector": {"name": "portion", "of": TOP_K, "budget": HALF}, "budget": 12})
    assert alone.select(features, saliency=torch.rand(1, 30)).counts == (4,)
    assert not alone.plan([30]).exact
    flat = pruner.select(features * 0.1, saliency=torch.rand(1, 30))
    assert flat.stage is not None
    assert (flat.counts, flat.stage.tolist()) == ((12,), [[1] * 12])  # a share of 0 skips the step


def test_required_tokens_are_kept_beside_it() -> None:
    spec = {"name": "portion", "of": TOP_K, "most": 2}
    cells = [{"name": "cells", "keep": [[4, 0], [4, 1], [4, 2]]}]
    got = scope.select(
        torch.randn(1, 30, 4),
        saliency=torch.rand(1, 30),
        spec={"selector": spec, "budget": 9, "constraints": cells},
        grid=(5, 6),
    )
    assert got.counts == (5,)
    assert got.mask[0, 24:27].all()


def test_refusals() -> None:
    for options, message in (({}, "nothing is limited"), ({"budget": 5}, "same number of tokens of every image")):
        with pytest.raises(scope.SpecError, match=message):
            Pruner({"selector": {"name": "portion", "of": TOP_K, **options}, "budget": 9})
