"""`sum`: gain plus a power of saliency, which may be normalised."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import random_case

import scope_core as scope
from plugins.combiner.cases import GAIN, SALIENCY, score
from scope_core import VisualTokens


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [2.5, 3, 4, 3]),
        ({"alpha": 2.0}, [2.25, 5, 16, 3]),
        ({"alpha": 0.0}, [3, 2, 1, 4]),
        ({"normaliser": "max"}, [2.125, 1.5, 1, 3]),
        ({"normaliser": "sum"}, [2 + 0.5 / 6.5, 1 + 2 / 6.5, 4 / 6.5, 3]),
        ({"normaliser": "mean"}, [2 + 2 / 6.5, 1 + 8 / 6.5, 16 / 6.5, 3]),
    ],
)
def test_by_the_formula(options: dict[str, Any], expected: list[float], registry: scope.Registry) -> None:
    assert score(registry, {"name": "sum", **options}) == pytest.approx(expected)


@pytest.mark.parametrize("normaliser", ["max", "sum", "mean"])
def test_normalisers_look_at_valid_tokens_only(normaliser: str, registry: scope.Registry) -> None:
    valid = torch.tensor([[True, True, False, True]])
    noisy = SALIENCY.clone()
    noisy[0, 2] = 1e6
    part = {"name": "sum", "normaliser": normaliser}
    masked = score(registry, part, noisy, VisualTokens.of(torch.ones(1, 4, 2), valid=valid))
    scale = {"max": 2.0, "sum": 2.5, "mean": 2.5 / 3}[normaliser]
    assert [masked[i] for i in (0, 1, 3)] == pytest.approx([2 + 0.5 / scale, 1 + 2 / scale, 3])


@pytest.mark.parametrize("normaliser", ["max", "sum", "mean"])
def test_a_normaliser_of_zero_leaves_saliency_as_it_is(normaliser: str, registry: scope.Registry) -> None:
    part = {"name": "sum", "normaliser": normaliser}
    assert score(registry, part, SALIENCY * 0) == GAIN[0].tolist()


def test_a_negative_sum_does_not_hide_negative_scores() -> None:
    features, saliency = random_case(1, 12)
    spec = {"recipe": "scope", "combiner": {"name": "sum", "normaliser": "max"}, "budget": 3}
    with pytest.raises(scope.TokensError, match="needs saliency of at least 0"):
        scope.select(features, saliency=-saliency - 0.1, spec=spec)
