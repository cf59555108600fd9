"""`plain_cosine`: the product of rounded unit vectors and nothing else."""

from __future__ import annotations

import pytest
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_the_product_alone(dtype: torch.dtype, registry: scope.Registry, photo_features: Photos) -> None:
    features = photo_features.features.to(dtype)
    unit = features / features.norm(dim=-1, keepdim=True)
    unit = unit.float() if dtype is torch.bfloat16 else unit
    for of in (None, "projected"):
        tokens = VisualTokens.of(features, signals={"projected": features})
        made = built(registry, "similarity", {"name": "plain_cosine", "of": of}).pairwise(tokens)
        assert made.equal(torch.bmm(unit, unit.mT))


def test_a_signal_of_another_shape_is_refused(registry: scope.Registry) -> None:
    part = built(registry, "similarity", {"name": "plain_cosine", "of": "vision.keys[-2]"})
    tokens = VisualTokens.of(torch.ones(1, 4, 2), signals={"vision.keys[-2]": torch.ones(1, 3, 4, 2)})
    with pytest.raises(scope.TokensError, match="one vector per token"):
        part.pairwise(tokens)


COVERAGES = ("facility_location", "max_min", "redundancy", "log_det", "theta_cover")


@pytest.mark.parametrize("coverage", COVERAGES)
def test_kernels_take_float32_of_half_precision(coverage: str, photo_features: Photos) -> None:
    """The matrix is float32, so that picks may be compiled; they are the loop's to the last bit."""
    x = photo_features.features.to(torch.bfloat16)
    spec = {"recipe": "scope", "similarity": "plain_cosine", "coverage": coverage, "budget": 24, "dtype": "as_is"}
    given = {"saliency": photo_features.saliency.to(torch.bfloat16)}
    fast = scope.select(x, spec=spec, **given)
    loop = scope.select(x, spec={**spec, "optimizer": {"name": "greedy", "path": "loop"}}, **given)
    assert fast.picks.equal(loop.picks)
    assert fast.gains.double().equal(loop.gains.double())
    assert fast.scores.double().equal(loop.scores.double())
