"""The frames of a group's tokens: those of a video, or images that are given as frames."""

from __future__ import annotations

from torch import Tensor


def frame_means(features: Tensor, numbers: Tensor) -> Tensor:
    """(F, D) mean of (n, D) features over each frame; ``numbers`` is (n,), from 0, with no number missing."""
    frames = int(numbers.max()) + 1
    sums = features.new_zeros(frames, features.shape[1]).index_add_(0, numbers, features)
    return sums / numbers.bincount(minlength=frames).to(sums)[:, None]


def pieces_of(labels: Tensor) -> list[list[Tensor]]:
    """The token indices of each piece of each group, from (B, N) labels, -1 for no piece."""
    return [
        [(row == piece).nonzero().flatten() for piece in range(int(row.amax()) + 1)] if len(row) else []
        for row in labels
    ]
