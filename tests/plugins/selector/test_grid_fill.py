"""`grid_fill`: outliers, then a grid."""

from __future__ import annotations

import torch

import scope_core as scope
from plugins.cases import OUTLIERS


def test_outliers_then_a_grid() -> None:
    spec = {
        "selector": {"name": "grid_fill", "density": 2},
        "budget": {"name": "iqr", "saliency": "cls_attention", "grid": 2},
    }
    got = scope.select(torch.ones(1, 16, 2), saliency=OUTLIERS, spec=spec)
    assert got.picks[0].tolist() == [3, 12, 0, 4, 8]  # two outliers, one of them on the grid of every 4th token
