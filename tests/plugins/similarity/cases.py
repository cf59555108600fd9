"""Tokens on which similarities are tried."""

from __future__ import annotations

import numpy as np
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens


def some_tokens(count: int = 12, grid: tuple[int, int] = (3, 4)) -> VisualTokens:
    rng = np.random.default_rng(0)
    signals = {
        "vision.hidden[-2]": torch.tensor(rng.normal(size=(1, count, 5))),
        "vision.keys[-2]": torch.tensor(rng.normal(size=(1, 3, count, 4))),
    }
    return VisualTokens.of(torch.tensor(rng.normal(size=(1, count, 6))), grid=grid, signals=signals)


def pairwise_of(registry: scope.Registry, metric: object, features: torch.Tensor) -> np.ndarray:
    matrix: np.ndarray = built(registry, "similarity", metric).pairwise(VisualTokens.of(features))[0].numpy()
    return matrix
