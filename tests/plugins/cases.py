"""Specs and tokens that tests of several kinds of part use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from fakes import built

import scope_core as scope
from scope_core import VisualTokens

TOP = {"coverage": "modular", "combiner": "saliency_only", "optimizer": "top_k"}


OUTLIERS = torch.tensor([[1.0, 2, 1, 99, 1, 2, 1, 2, 1, 2, 1, 2, 88, 2, 1, 2]])
"""Scores of 16 tokens, two of which stand out."""


REGISTRY = scope.default_registry()


def score(source: Any, tokens: VisualTokens) -> np.ndarray:
    values: np.ndarray = built(REGISTRY, "saliency", source).score(tokens).numpy()
    return values


def pairwise(metric: Any, tokens: VisualTokens) -> np.ndarray:
    matrix: np.ndarray = built(REGISTRY, "similarity", metric).pairwise(tokens).numpy()
    return matrix


def clip_tokens(values: list[float], valid: list[bool] | None = None) -> VisualTokens:
    """One group whose text relevance is ``values``."""
    given_ = torch.tensor(values, dtype=torch.float64)[None, None]
    mask = None if valid is None else torch.tensor([valid])
    features = torch.ones(1, len(values), 2, dtype=torch.float64)
    return VisualTokens.of(features, valid=mask, signals={"clip.text_similarity": given_})


POSITIVE = {"name": "text_relevance", "sign": "positive"}
