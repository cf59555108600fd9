"""`reconstruction_error`: against ridge regression, and images that a few tokens express fully."""

from __future__ import annotations

import numpy as np
import oracles_recent as oracle
import torch
from conftest import Photos
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def test_scores_are_the_oracles(registry: scope.Registry, photo_features: Photos) -> None:
    part = built(registry, "saliency", "reconstruction_error")
    first = built(registry, "saliency", {"name": "reconstruction_error", "basis_first": True})
    x = photo_features.features.double()
    for group, row in enumerate(x):
        basis, errors = oracle.reconstruction(row.numpy())
        np.testing.assert_allclose(part.score(VisualTokens.of(x))[group], errors, atol=1e-6)
        order = first.score(VisualTokens.of(x))[group].argsort(descending=True).tolist()
        assert order[:10] == basis


def test_an_image_of_one_colour_has_no_detail(registry: scope.Registry) -> None:
    part = built(registry, "saliency", "reconstruction_error")
    for value in (0.0, 1.0, 1e4):
        score = part.score(VisualTokens.of(torch.full((1, 30, 8), value)))
        torch.testing.assert_close(score, torch.zeros(1, 30), atol=1e-3 * max(value, 1) / 1e4 + 1e-5, rtol=0)
    assert len(set(scope.select(torch.ones(1, 30, 8), spec="apet@16").picks[0].tolist())) == 16
