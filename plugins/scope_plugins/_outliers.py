"""Tokens whose saliency stands out, by the interquartile range."""

from __future__ import annotations

import torch
from torch import Tensor


def outliers(values: Tensor, fence: float) -> int:
    """The number of (n,) values above ``Q3 + fence (Q3 - Q1)``; quartiles are interpolated linearly."""
    if not len(values):
        return 0
    low, high = torch.quantile(values.double(), torch.tensor([0.25, 0.75], dtype=torch.float64, device=values.device))
    return int((values.double() > high + fence * (high - low)).sum())


def grid_points(total: int, seeds: int, density: int) -> range:
    """Every s-th of ``total`` tokens, ``s = floor(floor(total / seeds) / density)``: about ``density`` for each seed.

    The last token is never included; the range is empty if there are no seeds.
    """
    if not seeds:
        return range(0)
    return range(0, total - 1, max(total // seeds // density, 1))
