"""The spectrum of a group's features, and its entropy."""

from __future__ import annotations

import torch
from torch import Tensor

from scope_core import VisualTokens

FLAT = 1e-12
"""Share of the features' squares up to which their spread is rounding of float32."""


def spectra(tokens: VisualTokens, *, centred: bool, unit: bool) -> list[Tensor]:
    """The squared singular values of each group's (n, D) features in float64, ``min(n, D)`` of them, in any order.

    All 0 if the features are 0, or, if ``centred``, all equal up to rounding.
    """
    if unit:
        features = VisualTokens.of(tokens.features.double(), valid=tokens.valid).unit()
    else:
        features = tokens.features.double()
    found = []
    for rows, valid in zip(features, tokens.valid, strict=True):
        matrix = rows[valid]
        total = matrix.square().sum()
        if centred and len(matrix):
            matrix = matrix - matrix.mean(0)
        gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        flat = bool(gram.diagonal().sum() <= FLAT * total)
        found.append(gram.diagonal() * 0 if flat else torch.linalg.eigvalsh(gram).clamp(min=0))
    return found


def entropy(weights: Tensor) -> float:
    """``-sum p log p`` of weights of at least 0 after division by their sum; 0 if all are 0."""
    total = weights.sum()
    if float(total) <= 0:
        return 0.0
    share = weights / total
    return float(-(share * share.clamp(min=torch.finfo(share.dtype).tiny).log()).sum())
