"""Runs of frames of one cluster."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, TokenPartition
from scope_plugins._density import clusters
from scope_plugins._fractions import fraction
from scope_plugins._frames import frame_means, rows_of


class FrameClustersSpec(ComponentSpec):
    """Runs of frames that belong to one cluster of frames."""

    name: Literal["frame_clusters"] = "frame_clusters"
    share: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Number of clusters, as a share of the frames, rounded up."""
    neighbours: Annotated[int, Field(ge=1)] = 7
    """Nearest frames, itself included, from which a frame's density is computed."""


class FrameClusters(TokenPartition[FrameClustersSpec]):
    """Runs of frames that look alike, in a number that follows from that of the frames.

    Use it in `quota` so that every scene of a video keeps tokens.

    Frames are clustered by density peaks of the mean of their tokens (see the selector `density_peaks`), each into the
    nearest peak; a cut lies between neighbours of different clusters, so a scene that comes back is a run of its own.
    All frames equal: the first ones are runs of one frame, the rest is one more. Images of a group are frames of one
    video.
    Source: PruneVid, ACL 2025, arXiv 2412.16117.
    """

    copies = 3

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The run of each token."""
        numbers = tokens.frames()
        labels = torch.full_like(numbers, -1)
        for group, valid in enumerate(tokens.valid):
            of_each = numbers[group, valid]
            if len(of_each):
                means = frame_means(rows_of(tokens, group), of_each)
                count = ceil(fraction(self.spec.share) * len(means))
                cluster = clusters(means, count, self.spec.neighbours)[1]
                labels[group, valid] = torch.cat([cluster.new_zeros(1), cluster.diff().ne(0).cumsum(0)])[of_each]
        return labels
