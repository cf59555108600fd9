"""`spatial`: kernels of the distance on the grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import scope_core as scope
from plugins.cases import pairwise
from plugins.similarity.cases import some_tokens
from scope_core import VisualTokens


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_by_the_formula(kernel: str) -> None:
    got = pairwise({"name": "spatial", "scale": 1.5, "kernel": kernel}, some_tokens())[0]
    for i in range(12):
        for j in range(12):
            d = math.dist(divmod(i, 4), divmod(j, 4))
            want = math.exp(-(d**2) / (2 * 1.5**2)) if kernel == "gaussian" else math.exp(-d / 1.5)
            assert got[i, j] == pytest.approx(want, abs=1e-14)
    assert np.linalg.eigvalsh(got).min() > -1e-10  # what log_det asks for


@pytest.mark.parametrize("kernel", ["gaussian", "exponential"])
def test_all_are_near_at_a_scale_beyond_all_distances(kernel: str) -> None:
    assert (pairwise({"name": "spatial", "scale": 1e300, "kernel": kernel}, some_tokens())[0] == 1).all()


def test_places_of_other_tiles_are_not_near() -> None:
    tile = torch.tensor([[0, 0, 1, 1]])
    place = torch.tensor([[0, 1, 0, 1]])
    tokens = VisualTokens.of(torch.ones(1, 4, 2), row=place, col=place, tile=tile)
    assert (pairwise("spatial", tokens)[0, :2, 2:] == 0).all()
    with pytest.raises(scope.TokensError, match="has none; pass grid="):
        pairwise("spatial", VisualTokens.of(torch.ones(1, 4, 2)))
