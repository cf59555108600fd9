"""Similarities, and gains along an order of picks."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles
import torch

from scope_core import VisualTokens


def cosines(seed: int, count: int, width: int = 4) -> np.ndarray:
    return oracles.cosine_matrix(np.random.default_rng(seed).normal(size=(count, width)))


def gains_along(coverage: Any, similarity: np.ndarray, order: list[int]) -> list[np.ndarray]:
    """Gains of every token before each pick of ``order`` and after the last."""
    matrix = torch.tensor(similarity)[None]
    state = coverage.start(matrix, VisualTokens.of(torch.ones(1, len(similarity), 2, dtype=matrix.dtype)))
    made = [coverage.gain(state)[0].numpy().copy()]
    for pick in order:
        state = coverage.add(state, torch.tensor([pick]))
        made.append(coverage.gain(state)[0].numpy().copy())
    return made
