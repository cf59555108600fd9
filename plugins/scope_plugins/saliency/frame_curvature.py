"""How sharply the path of a video's frames turns at each frame."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._frames import frame_means, rows_of


class FrameCurvatureSpec(ComponentSpec):
    """The turn of the path of a video's frames, the same for all tokens of a frame."""

    name: Literal["frame_curvature"] = "frame_curvature"


class FrameCurvature(SaliencySource[FrameCurvatureSpec]):
    """Frames at which a video takes another course: cuts, turns and events.

    Use it as the score of frames in `frame_quota`; alone it does not tell the tokens of a frame apart.

    With ``m_f`` the mean token of frame f at length 1: ``a_f = 1 - cos(m_f - m_(f-1), m_(f+1) - m_f)``; 1 for the
    first and the last frame, and where one of the two steps is 0. All frames equal: 1.
    Images of a group are frames of one video. Source: V-CAST, arXiv 2603.27650.
    """

    reach = (1, 1)
    copies = 2

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2] up to rounding; 0 for tokens that are not valid."""
        numbers = tokens.frames()
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, valid in enumerate(tokens.valid):
            of_each = numbers[group, valid]
            if len(of_each):
                means = frame_means(rows_of(tokens, group), of_each)
                score[group, valid] = _turns(means)[of_each].to(score)
        return score


def _turns(means: Tensor) -> Tensor:
    """(F,) the turn at each of (F, D) frames."""
    length = torch.linalg.vector_norm(means, dim=1, keepdim=True)
    unit = means / length.masked_fill(length == 0, 1)
    steps = unit[1:] - unit[:-1]
    size = torch.linalg.vector_norm(steps, dim=1, keepdim=True)
    steps = torch.where(size > 1e-12, steps / size.masked_fill(size == 0, 1), torch.zeros_like(steps))  # rounding
    turns = torch.ones(len(means), dtype=means.dtype, device=means.device)
    if len(means) > 2:
        turns[1:-1] = (1 - (steps[:-1] * steps[1:]).sum(1)).clamp(min=0)
    return turns
