"""`frame_curvature`: turns of a path, by hand."""

from __future__ import annotations

import torch
from fakes import built

from plugins.cases import REGISTRY
from scope_core import VisualTokens


def test_straight_on_back_and_standing_still() -> None:
    """Frames of two tokens, whose means go round a circle in equal steps, return, and stand still."""
    angles = torch.tensor([0.0, 0.1, 0.2, 0.1, 0.1, 0.1])
    means = torch.stack([angles.cos(), angles.sin()], 1)
    apart = torch.tensor([0.3, -0.2])
    x = torch.stack([means + apart, means - apart], 1).reshape(1, 12, 2)
    score = built(REGISTRY, "saliency", "frame_curvature").score(VisualTokens.of(x, grid=(6, 1, 2)))[0]
    assert torch.equal(score[::2], score[1::2])
    wanted = [1, 1 - torch.tensor(0.1).cos().item(), 2, 1, 1, 1]  # steps turn by the angle; a step of 0 has no course
    torch.testing.assert_close(score[::2], torch.tensor(wanted), atol=2e-3, rtol=0)
    assert built(REGISTRY, "saliency", "frame_curvature").score(VisualTokens.of(x[:, :2]))[0].tolist() == [1, 1]
