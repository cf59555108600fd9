"""The signal ``vision.canvas``: where tokens lie on the image put together of its tiles."""

from __future__ import annotations

import torch
from torch import Tensor

CANVAS = "vision.canvas"
NO_CANVAS = "neither the prompt nor the pixels say in how many rows and columns the tiles of an image lie"


def no_canvas(features: Tensor) -> Tensor:
    """(B, N, 4) zeros: the signal of tokens (B, N, D) of images that are one tile each."""
    return torch.zeros(*features.shape[:2], 4, device=features.device)
