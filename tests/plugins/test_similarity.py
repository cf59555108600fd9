"""Similarity metrics against the oracle, and the properties they declare."""

from __future__ import annotations

import numpy as np
import offers
import oracles
import pytest
import torch
from conftest import Photos
from fakes import built, least

import scope_core as scope
from scope_core import VisualTokens


def pairwise(registry: scope.Registry, metric: object, features: torch.Tensor) -> np.ndarray:
    matrix: np.ndarray = built(registry, "similarity", metric).pairwise(VisualTokens.of(features))[0].numpy()
    return matrix


def test_cosine_on_photographs(registry: scope.Registry, photo_features: Photos) -> None:
    features, _ = photo_features.one("astronaut")
    expected = oracles.cosine_matrix(features[0].numpy())
    np.testing.assert_allclose(pairwise(registry, "cosine", features), expected, atol=1e-6)
    np.testing.assert_allclose(pairwise(registry, "cosine", features.double()), expected, atol=1e-14)


def test_cosine_of_zero_vectors_is_zero_even_to_themselves(registry: scope.Registry) -> None:
    features = torch.tensor([[1.0, 2.0], [0.0, 0.0], [2.0, 4.0]])
    np.testing.assert_allclose(pairwise(registry, "cosine", features), [[1, 0, 1], [0, 0, 0], [1, 0, 1]], atol=1e-7)


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, pytest.param(torch.float16, marks=offers.half_products)]
)
def test_cosine_is_exactly_symmetric_with_a_unit_diagonal(
    dtype: torch.dtype, registry: scope.Registry, photo_features: Photos
) -> None:
    matrix = built(registry, "similarity", "cosine").pairwise(VisualTokens.of(photo_features.features.to(dtype)))
    assert matrix.dtype == dtype
    assert matrix.equal(matrix.mT)
    assert matrix.diagonal(dim1=1, dim2=2).eq(1).all()
    assert matrix.abs().max() <= 1.01


@pytest.mark.parametrize("scaled", [False, True])
def test_dot(scaled: bool, registry: scope.Registry) -> None:
    features = torch.randn(9, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = oracles.dot_matrix(features.numpy()) / (4 if scaled else 1)
    np.testing.assert_allclose(pairwise(registry, {"name": "dot", "scaled": scaled}, features), expected, atol=1e-13)


def test_declared_bounds_hold(registry: scope.Registry, photo_features: Photos) -> None:
    signals = {"vision.hidden[-2]": photo_features.features, "vision.keys[-2]": photo_features.features[:, None]}
    tokens = VisualTokens.of(photo_features.features, grid=photo_features.grid, signals=signals)
    for record in registry.records("similarity"):
        metric = built(registry, "similarity", least(registry, "similarity", record.name))
        matrix = metric.pairwise(tokens)
        low, high = metric.bounds
        assert low is None or matrix.min() >= low - 1e-6
        assert high is None or matrix.max() <= high + 1e-6
        if metric.symmetric:
            torch.testing.assert_close(matrix, matrix.mT)
