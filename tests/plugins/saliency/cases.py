"""Attention of CLS and of patches, and tokens that carry it."""

from __future__ import annotations

import numpy as np
import torch

from scope_core import VisualTokens

HEADS, PATCHES, WIDTH = 3, 6, 4


def queries_and_keys(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(H, 1 + N, d) queries and keys of CLS and the patches."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(HEADS, 1 + PATCHES, WIDTH)), rng.normal(size=(HEADS, 1 + PATCHES, WIDTH))


def tokens_with(**signals: np.ndarray) -> VisualTokens:
    named = {f"vision.{name}[-2]": torch.tensor(value)[None] for name, value in signals.items()}
    return VisualTokens.of(torch.ones(1, PATCHES, 2, dtype=torch.float64), signals=named)


def pooled(attention: np.ndarray, heads: str) -> np.ndarray:
    pooled: np.ndarray = {"sum": np.sum, "mean": np.mean, "max": np.max}[heads](attention, axis=0)
    return pooled


def in_a_grid(**more: torch.Tensor) -> VisualTokens:
    """One image of 6 x 6 random tokens."""
    features = torch.randn(1, 36, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return VisualTokens.of(features, grid=(6, 6), **more)
