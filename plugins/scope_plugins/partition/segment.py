"""Runs of frames that show one scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, GroupSize, TokenPartition
from scope_plugins._frames import frame_means, rows_of


class SegmentSpec(ComponentSpec):
    """Runs of frames, cut where the scene changes."""

    name: Literal["segment"] = "segment"
    threshold: float = 0.9
    """A cut lies between two frames whose mean tokens have a cosine below this."""
    least: Annotated[int, Field(ge=1)] = 8
    """Fewest segments, if there are as many frames: the cuts of the lowest cosines are added."""


class Segment(TokenPartition[SegmentSpec]):
    """Runs of frames that show one scene, cut where frames differ.

    Use it in `quota` so that every scene of a video keeps tokens, however short it is.

    ``t_f = cos(mean of frame f, mean of frame f + 1)``. A cut comes after each frame with ``t_f < threshold``; if these
    make fewer segments than ``least``, after those of the lowest t, ties to the earliest. All frames equal: the first
    ``least - 1`` frames are segments of one frame. Images of a group are frames of one video.
    Source: FastVID, arXiv 2503.11187, and FlashVID, ICLR 2026 (DySeg).
    """

    copies = 2

    def largest(self, size: int) -> int:
        """All frames but those that the fewest segments need."""
        frames = sorted(getattr(size, "frames", ()), reverse=True)
        most = frames[: max(1, len(frames) - self.spec.least + 1)]
        return GroupSize(sum(most), most) if frames else size

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The segment of each token."""
        numbers = tokens.frames()
        labels = torch.full_like(numbers, -1)
        for group, valid in enumerate(tokens.valid):
            of_each = numbers[group, valid]
            if len(of_each):
                means = frame_means(rows_of(tokens, group), of_each)
                labels[group, valid] = self._segments(means)[of_each]
        return labels

    def _segments(self, means: Tensor) -> Tensor:
        """(F,) the segment of each of (F, D) frames."""
        unit = means / torch.linalg.vector_norm(means, dim=1, keepdim=True).clamp(min=torch.finfo(means.dtype).tiny)
        same = ((unit[:-1] * unit[1:]).sum(1) * 2**40).round() / 2**40  # equal frames stay equal
        wanted = max(int((same < self.spec.threshold).sum()), min(self.spec.least - 1, len(same)))
        cut = torch.zeros(len(means), dtype=torch.int64, device=means.device)
        cut[same.sort(stable=True).indices[:wanted] + 1] = 1
        return cut.cumsum(0)
