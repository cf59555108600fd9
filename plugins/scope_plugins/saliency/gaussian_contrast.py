"""How little each token resembles the centre of its video, and that of its frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._fractions import fraction
from scope_plugins._frames import frame_means, rows_of

_WIDTHS = [2.0**power for power in range(-3, 2)]
_ROWS = 256
"""Tokens that are computed in float64 together: copies of all would be several times as large as the features."""


class GaussianContrastSpec(ComponentSpec):
    """Gaussian similarity to the centre of the video or of the frame, negated."""

    name: Literal["gaussian_contrast"] = "gaussian_contrast"
    centre: Literal["both", "video", "frame"] = "both"
    """The centre: the mean of all tokens of the group (``video``), of those of the token's frame, or the sum of both
    similarities."""
    channels: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The share of channels that are read: those of the lowest variance over the group. Rounded down, at least 1."""


class GaussianContrast(SaliencySource[GaussianContrastSpec]):
    """Tokens that are unlike the rest of their video and of their frame.

    Use it for videos where most of the picture stands still or repeats.

    ``a_j = -sum_w exp(-|u_j - c|^2 / (2 w))`` with ``w = 1/8, 1/4, 1/2, 1, 2``; u are the chosen channels at length 1,
    and c is their mean. Scores are negative. Images of a group are frames of one video. All tokens equal: all scores
    equal. Source: VidCom2, arXiv 2505.14454.
    """

    nonnegative = False
    copies = 4

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [-10, 0]; 0 for tokens that are not valid."""
        numbers = tokens.frames()
        score = tokens.features.new_zeros(tokens.shape[:2])
        count = max(1, int(fraction(self.spec.channels) * tokens.shape[2]))
        for group, valid in enumerate(tokens.valid):
            of_each = numbers[group, valid]
            if not len(of_each):
                continue
            unit = _quiet_directions(rows_of(tokens, group), count)
            total = torch.zeros(len(unit), dtype=unit.dtype, device=unit.device)
            if self.spec.centre != "frame":
                total += _likeness(unit, unit.mean(0, keepdim=True), torch.zeros_like(of_each))
            if self.spec.centre != "video":
                total += _likeness(unit, frame_means(unit, of_each), of_each)
            score[group, valid] = -total.to(score)
        return score


def _quiet_directions(features: Tensor, count: int) -> Tensor:
    """(n, count) float64: the channels of lowest variance of (n, D) features, each row at length 1."""
    lowest, highest = features.aminmax()
    largest = torch.maximum(highest, -lowest).clamp(min=torch.finfo(features.dtype).tiny)  # squares stay in range

    def parts() -> Iterator[Tensor]:
        return (part / largest for part in torch.split(features, _ROWS))

    mean = torch.stack([part.double().sum(0) for part in parts()]).sum(0) / len(features)
    variance = torch.stack([part.double().sub_(mean).square_().sum(0) for part in parts()]).sum(0)
    quiet = variance.sort(stable=True).indices[:count]
    chosen = features.new_empty(len(features), count, dtype=torch.float64)
    for rows, part in zip(torch.split(chosen, _ROWS), parts(), strict=True):
        rows.copy_(part.index_select(1, quiet))
        length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        rows /= length.masked_fill(length == 0, 1)
    return chosen


def _likeness(unit: Tensor, centres: Tensor, of_each: Tensor) -> Tensor:
    """(n,) sum of Gaussian similarities at all widths, of each of (n, C) rows to its one of (m, C) centres."""
    pairs = zip(torch.split(unit, _ROWS), torch.split(of_each, _ROWS), strict=True)
    far = torch.cat([centres.index_select(0, which).sub_(rows).square_().sum(1) for rows, which in pairs])
    return torch.stack([(-far / (2 * width)).exp() for width in _WIDTHS]).sum(0)
