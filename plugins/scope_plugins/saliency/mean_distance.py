"""Distance of each token from the mean of its group."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, unit_rows

_TOKENS = 1024
"""Tokens of small groups that are computed together: few enough to stay in a processor's cache."""


class MeanDistanceSpec(ComponentSpec):
    """Cosine distance of each token from the mean of its group."""

    name: Literal["mean_distance"] = "mean_distance"


class MeanDistance(SaliencySource[MeanDistanceSpec]):
    """Tokens that look unlike the average of their image; in `per_frame`, unlike the average of their frame.

    Use it where a background fills most of the image, and what matters is what stands out from it.

    ``a_j = 1 - cos(x_j, mean_i x_i)``; a mean or a token of length 0 has a cosine of 0. All tokens equal: 0.
    Source: V-CAST, arXiv 2603.27650.
    """

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2] up to rounding."""
        few = max(1, _TOKENS // tokens.shape[1])
        pairs = zip(torch.split(tokens.features, few), torch.split(tokens.valid, few), strict=True)
        found = [_distances(*pair) for pair in pairs]
        return torch.cat(found)


def _distances(features: Tensor, valid: Tensor) -> Tensor:
    """(B, N) distances of (B, N, D) features; 0 for tokens that are not valid."""
    real = features if bool(valid.all()) else features.masked_fill(~valid[..., None], 0)
    mean = real.sum(1, keepdim=True) / valid.sum(1).clamp(min=1)[:, None, None]
    del real  # a copy where there is padding, and the scaled features below are another
    length = torch.linalg.vector_norm(mean, dim=2, keepdim=True)
    unit = mean / length.masked_fill(length == 0, 1)
    distance: Tensor = 1 - (unit_rows(features) @ unit.mT)[..., 0]
    return distance.clamp(min=0).masked_fill(~valid, 0)
