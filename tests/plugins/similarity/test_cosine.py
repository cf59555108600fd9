"""`cosine`: against the oracle, and exactly symmetric."""

from __future__ import annotations

import numpy as np
import offers
import oracles
import pytest
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from plugins.similarity.cases import pairwise_of
from scope_core import VisualTokens


def test_cosine_on_photographs(registry: scope.Registry, photo_features: Photos) -> None:
    features, _ = photo_features.one("astronaut")
    expected = oracles.cosine_matrix(features[0].numpy())
    np.testing.assert_allclose(pairwise_of(registry, "cosine", features), expected, atol=1e-6)
    np.testing.assert_allclose(pairwise_of(registry, "cosine", features.double()), expected, atol=1e-14)


def test_cosine_of_zero_vectors_is_zero_even_to_themselves(registry: scope.Registry) -> None:
    features = torch.tensor([[1.0, 2.0], [0.0, 0.0], [2.0, 4.0]])
    np.testing.assert_allclose(pairwise_of(registry, "cosine", features), [[1, 0, 1], [0, 0, 0], [1, 0, 1]], atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cosine_is_exactly_symmetric_with_a_unit_diagonal(
    dtype: torch.dtype, registry: scope.Registry, photo_features: Photos
) -> None:
    matrix = built(registry, "similarity", "cosine").pairwise(VisualTokens.of(photo_features.features.to(dtype)))
    assert matrix.dtype == dtype
    assert matrix.equal(matrix.mT)
    assert matrix.diagonal(dim1=1, dim2=2).eq(1).all()
    assert matrix.abs().max() <= 1.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=offers.half_products)])
def test_half_precision_rounds_the_diagonal_as_well(
    dtype: torch.dtype, registry: scope.Registry, photo_features: Photos
) -> None:
    """Published code has the product of rounded unit vectors; an exact 1 in its diagonal changes picks."""
    features = photo_features.features.to(dtype)
    unit = features / features.norm(dim=-1, keepdim=True)
    matrix = built(registry, "similarity", "cosine").pairwise(VisualTokens.of(features))
    assert matrix.equal(torch.bmm(unit, unit.mT))
    assert not matrix.diagonal(dim1=1, dim2=2).eq(1).all()
