"""Combiners: their formulas, their normalisers, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

GAIN = torch.tensor([[2.0, 1.0, 0.0, 3.0]])
SALIENCY = torch.tensor([[0.5, 2.0, 4.0, 0.0]])
TOKENS = VisualTokens.of(torch.ones(1, 4, 2))


def score(
    registry: scope.Registry, combiner: Any, saliency: torch.Tensor = SALIENCY, tokens: Any = TOKENS
) -> list[float]:
    part = built(registry, "combiner", combiner)
    made: list[float] = part.combine(GAIN, part.prepare(saliency, tokens))[0].tolist()
    return made


@pytest.mark.parametrize(
    ("combiner", "expected"),
    [
        ({"name": "product", "alpha": 0.0}, [2, 1, 0, 3]),
        ("product", [1, 2, 0, 0]),
        ({"name": "product", "alpha": 2.0}, [0.5, 4, 0, 0]),
        ("sum", [2.5, 3, 4, 3]),
        ({"name": "sum", "alpha": 2.0}, [2.25, 5, 16, 3]),
        ({"name": "sum", "alpha": 0.0}, [3, 2, 1, 4]),
        ({"name": "sum", "normaliser": "max"}, [2.125, 1.5, 1, 3]),
        ({"name": "sum", "normaliser": "sum"}, [2 + 0.5 / 6.5, 1 + 2 / 6.5, 4 / 6.5, 3]),
        ({"name": "sum", "normaliser": "mean"}, [2 + 2 / 6.5, 1 + 8 / 6.5, 16 / 6.5, 3]),
        ("saliency_only", [0.5, 2, 4, 0]),
        ("coverage_only", [2, 1, 0, 3]),
    ],
)
def test_formula(combiner: Any, expected: list[float], registry: scope.Registry) -> None:
    assert score(registry, combiner) == pytest.approx(expected)


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


@pytest.mark.parametrize("combiner", ["product", "sum"])
def test_negative_saliency_names_the_token(combiner: str, registry: scope.Registry) -> None:
    saliency = SALIENCY.clone()
    saliency[0, 2] = -0.25
    with pytest.raises(scope.TokensError) as caught:
        score(registry, combiner, saliency)
    for text in (f"combiner '{combiner}'", "image 0, token 2 has -0.25", "'saliency_only'"):
        assert text in str(caught.value)
    valid = torch.tensor([[True, True, False, True]])
    assert score(registry, combiner, saliency, VisualTokens.of(torch.ones(1, 4, 2), valid=valid))[0] > 0


def test_negative_saliency_may_be_ranked(registry: scope.Registry) -> None:
    got = scope.select(torch.eye(4), saliency=-SALIENCY[0], spec="top_k_attention@3", registry=registry)
    assert got.picks.tolist() == [[3, 0, 1]]


def test_the_scale_of_saliency_changes_no_pick_of_a_product(registry: scope.Registry) -> None:
    generator = torch.Generator().manual_seed(0)
    features, saliency = torch.randn(1, 30, 8, generator=generator), torch.rand(1, 30, generator=generator)
    want = scope.select(features, saliency=saliency, spec="scope@12", registry=registry).picks
    assert scope.select(features, saliency=saliency * 1024, spec="scope@12", registry=registry).picks.equal(want)
