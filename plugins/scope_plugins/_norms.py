"""Norms of vectors whose powers may leave the dtype's range."""

from __future__ import annotations

import torch
from torch import Tensor


def norms(vectors: Tensor, order: float) -> Tensor:
    """(...) p-norms over the last axis; vectors whose powers underflow or overflow are scaled first."""
    norm: Tensor = vectors.norm(p=order, dim=-1)
    off = (norm < torch.finfo(norm.dtype).tiny ** min(1 / order, 1.0)) | torch.isinf(norm)
    if not bool(off.any()):
        return norm
    largest = vectors.abs().amax(-1, keepdim=True)
    scale = torch.where(off[..., None] & (largest > 0) & torch.isfinite(largest), largest, torch.ones_like(largest))
    norm = (vectors / scale).norm(p=order, dim=-1)
    return norm * scale[..., 0]
