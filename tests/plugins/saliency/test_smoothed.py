"""`smoothed`: a mean over a window of the grid, against the oracle."""

from __future__ import annotations

import numpy as np
import oracles_recent as oracle
import torch
from fakes import built

import scope_core as scope
from plugins.saliency.cases import in_a_grid
from scope_core import VisualTokens


def test_it_is_a_mean_over_the_window(registry: scope.Registry) -> None:
    part = built(registry, "saliency", {"name": "smoothed", "of": "feature_norm"})
    tokens = in_a_grid()
    np.testing.assert_allclose(part.score(tokens)[0], oracle.smoothed(tokens.features[0].norm(dim=1).numpy(), 6))


def test_it_leaves_out_what_is_not_there(registry: scope.Registry) -> None:
    """A hole and another tile change nothing of a plane; tokens without a place stay as they are."""
    tokens = in_a_grid(valid=torch.arange(36)[None] != 14, tile=(torch.arange(36) >= 18).long()[None])
    flat = built(registry, "saliency", {"name": "smoothed", "of": "uniform", "reach": 2})
    torch.testing.assert_close(flat.score(tokens)[tokens.valid], torch.ones(35, dtype=torch.float64))
    norms = built(registry, "saliency", {"name": "smoothed", "of": "feature_norm"})
    assert norms.score(VisualTokens.of(tokens.features)).equal(tokens.features.norm(dim=2))


def test_a_window_larger_than_the_grid_mirrors_again(registry: scope.Registry) -> None:
    part = built(registry, "saliency", {"name": "smoothed", "of": "feature_norm", "reach": 20, "sigma": 1000.0})
    score = part.score(in_a_grid())
    torch.testing.assert_close(score, score.mean().expand_as(score), rtol=0.1, atol=0)
