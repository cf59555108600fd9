"""`graph_propagation`: against the oracle, and where nothing is similar."""

from __future__ import annotations

import numpy as np
import oracles_recent as oracle
import pytest
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_scores_are_the_oracles(registry: scope.Registry, photo_features: Photos) -> None:
    part = built(registry, "saliency", "graph_propagation")
    x = photo_features.features.double()
    for row, score in zip(x, part.score(VisualTokens.of(x)), strict=True):
        np.testing.assert_allclose(score, oracle.propagated(row.numpy()), rtol=1e-9)


def test_tokens_without_neighbours_keep_what_they_have(registry: scope.Registry) -> None:
    part = built(registry, "saliency", "graph_propagation")
    apart = torch.eye(5, dtype=torch.float64) * torch.arange(5)[:, None]  # one of them is zero, similar to nothing
    assert part.score(VisualTokens.of(apart)).tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_padding_neither_passes_anything_on_nor_counts(registry: scope.Registry, dtype: torch.dtype) -> None:
    part = built(registry, "saliency", {"name": "graph_propagation", "threshold": 0.1})
    x = torch.randn(1, 40, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    valid = torch.arange(40)[None] < 30
    assert torch.allclose(
        part.score(VisualTokens.of(x, valid=valid))[:, :30], part.score(VisualTokens.of(x[:, :30])), rtol=1e-2
    )
