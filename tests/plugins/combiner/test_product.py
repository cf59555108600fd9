"""`product`: gain times a power of saliency."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import scope_core as scope
from plugins.combiner.cases import score


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"alpha": 0.0}, [2, 1, 0, 3]),
        ({}, [1, 2, 0, 0]),
        ({"alpha": 2.0}, [0.5, 4, 0, 0]),
    ],
)
def test_by_the_formula(options: dict[str, Any], expected: list[float], registry: scope.Registry) -> None:
    assert score(registry, {"name": "product", **options}) == pytest.approx(expected)


def test_the_scale_of_saliency_changes_no_pick_of_a_product(registry: scope.Registry) -> None:
    generator = torch.Generator().manual_seed(0)
    features, saliency = torch.randn(1, 30, 8, generator=generator), torch.rand(1, 30, generator=generator)
    want = scope.select(features, saliency=saliency, spec="scope@12", registry=registry).picks
    assert scope.select(features, saliency=saliency * 1024, spec="scope@12", registry=registry).picks.equal(want)
