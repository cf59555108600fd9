"""Density peaks: tokens in dense places that are far from any denser one. Du et al. 2016, with nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor


def peaks(features: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """(N,) logarithm of each token's density times its distance to the nearest denser one, and (N, N) distances.

    Distances are ``d_ij = |x_i - x_j| / sqrt(D)``. The density is ``exp(-mean d_ij^2)`` over the nearest ``neighbours``
    tokens, itself included; of equal ones, the lower index counts as denser. The densest token has the greatest of all
    distances. Logarithms, since densities underflow where vectors are long.
    """
    distance = distances(features) / features.shape[1] ** 0.5
    nearest = distance.topk(min(neighbours, len(features)), dim=1, largest=False).values
    density = -nearest.square().mean(1)
    index = torch.arange(len(features), device=features.device)
    denser = (density > density[:, None]) | ((density == density[:, None]) & (index < index[:, None]))
    apart = distance.masked_fill(~denser, distance.max()).amin(1)
    return apart.log() + density, distance


def distances(features: Tensor) -> Tensor:
    """(N, N) Euclidean distances of (N, D) features, each pair by itself: equal vectors have equal distances.

    Half precision is computed in float32, and long or short vectors at another scale, since squares would overflow.
    """
    rows = features.float() if features.element_size() < 4 else features
    tiny, largest = torch.finfo(rows.dtype).tiny, rows.abs().amax()
    if not tiny**0.25 < float(largest) < tiny**-0.25:
        rows = rows / largest.clamp(min=tiny)
        return (_pairs(rows) * largest.clamp(min=tiny)).to(features)
    return _pairs(rows).to(features)


def _pairs(rows: Tensor) -> Tensor:
    far = rows.new_zeros(len(rows), len(rows))
    above = torch.ones_like(far, dtype=torch.bool).triu_(1)
    far.masked_scatter_(above, torch.nn.functional.pdist(rows))
    return far + far.T


def clusters(features: Tensor, count: int, neighbours: int) -> tuple[Tensor, Tensor]:
    """(count,) the highest peaks of (N, D) features, ties to the lowest index, and (N,) the nearest peak of each.

    The nearest peak is a number from 0, ties to the highest peak; peaks are nearest to themselves.
    """
    score, distance = peaks(features, neighbours)
    centres = score.sort(descending=True, stable=True).indices[:count]
    nearest = distance[:, centres].argmin(1)
    nearest[centres] = torch.arange(len(centres), device=centres.device)
    return centres, nearest
