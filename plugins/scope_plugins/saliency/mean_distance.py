"""Distance of each token from the mean of its group."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


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
        features, size = tokens.features, tokens.valid.sum(1).clamp(min=1)[:, None, None]
        if tokens.padded:
            features = features.masked_fill(~tokens.valid[..., None], 0)
        mean = features.sum(1, keepdim=True) / size
        length = torch.linalg.vector_norm(mean, dim=2, keepdim=True)
        unit = mean / length.masked_fill(length == 0, 1)
        distance: Tensor = 1 - (tokens.unit() @ unit.mT)[..., 0]
        return distance.clamp(min=0).masked_fill(~tokens.valid, 0)
