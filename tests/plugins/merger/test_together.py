"""Properties that several mergers share."""

from __future__ import annotations

import pytest
import torch

import scope_core as scope
from plugins.cases import TOP
from plugins.merger.cases import FEATURES, SALIENCY, merged


@pytest.mark.parametrize("merger", ["average", "mean_add", "knn"])
def test_nothing_dropped_nothing_mixed_but_neighbours(merger: str) -> None:
    _, rows = merged({"name": merger, **({"neighbours": 0} if merger == "knn" else {})}, keep=12)
    torch.testing.assert_close(rows, FEATURES[0])


@pytest.mark.parametrize("merger", ["average", "mean_add"])
def test_only_one_stage_takes_tokens_in(merger: str) -> None:
    stages = [{"name": "composite", **TOP}, {"name": "composite", **TOP}]
    spec = {
        "selector": {"name": "chain", "stages": stages, "shares": [1, 1]},
        "merger": {"name": merger, "stage": 1},
        "budget": 4,
    }
    got = scope.select(FEATURES, saliency=SALIENCY, spec=spec)
    assert got.weights is not None
    assert got.stage is not None
    others = (got.weights[0] > 0).sum(1)
    by_token = dict(zip(got.picks[0].tolist(), got.stage[0].tolist(), strict=True))
    stage = [by_token[token] for token in got.rows[0].tolist()]
    assert all(int(n) == 1 for n, s in zip(others, stage, strict=True) if s == 0)
    assert sum(int(n) for n, s in zip(others, stage, strict=True) if s == 1) == 12 - 2


@pytest.mark.parametrize("merger", ["average", "mean_add", "knn", "pool", "density_clusters", "residual"])
def test_padding_may_hold_anything(merger: str) -> None:
    """A weight of 0 does not keep NaN out of a sum."""
    features, saliency = torch.randn(1, 12, 5), torch.rand(1, 12)
    features[0, 0] = torch.nan
    valid = torch.arange(12)[None] > 0
    got = scope.select(features, saliency=saliency, valid=valid, spec={**TOP, "merger": merger, "budget": 6})
    assert bool(torch.isfinite(got.merge(features)).all())


@pytest.mark.parametrize("merger", ["average", "mean_add", "knn"])
def test_similarities_that_overflow_are_refused_rather_than_compared(merger: str) -> None:
    """Of kept tokens that are all infinitely similar, the first would take in everything."""
    spec = {**TOP, "saliency": "uniform", "budget": 3, "merger": {"name": merger, "similarity": "dot"}}
    if merger == "knn":
        spec["merger"]["saliency"] = "uniform"
    with pytest.raises(scope.PluginOutputError, match=r"similarity 'dot'.* gave (inf|-inf|nan) for image 0"):
        scope.select(FEATURES * 1e25, spec=spec)
    assert scope.select(FEATURES, spec=spec).counts == (3,)
