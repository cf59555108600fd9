"""Tokens whose saliency stands out, by the interquartile range."""

from __future__ import annotations

import torch
from torch import Tensor


def outliers(values: Tensor, fence: float, floored: bool = False) -> int:
    """The number m of (n,) values above ``Q3 + fence (Q3 - Q1)``; quartiles are interpolated linearly.

    Args:
        values: The values.
        fence: The factor.
        floored: True for ``floor(n * (m / n))`` in floating point, which is m - 1 for some n and m: 0 of 1 in 196.
    """
    if not len(values):
        return 0
    found = _beyond(values, fence)
    return int(len(values) * (found / len(values))) if floored else found


def _beyond(values: Tensor, fence: float) -> int:
    low, high = torch.quantile(values.double(), torch.tensor([0.25, 0.75], dtype=torch.float64, device=values.device))
    return int((values.double() > high + fence * (high - low)).sum())


def grid_points(values: Tensor, fence: float, density: int, floored: bool = False) -> range:
    """Every s-th of n tokens, ``s = floor(floor(n / m) / density)``: about ``density`` for each of m outliers.

    The last token is never included; the range is empty if there are no outliers.

    Args:
        values: (n,) values.
        fence: As in `outliers`.
        density: Points for each outlier.
        floored: True for ``floor(1 / (m / n))`` in floating point instead of ``floor(n / m)``.
    """
    total, seeds = len(values), outliers(values, fence)
    if not seeds:
        return range(0)
    step = int(1 / (seeds / total)) if floored else total // seeds
    return range(0, total - 1, max(step // density, 1))
