"""LLaVA-NeXT-Video on Hugging Face: images as in LLaVA-NeXT, and videos, whose frames are pooled."""

from __future__ import annotations

from math import isqrt
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import avg_pool2d

from scope_adapters.adapters.llava_next import LlavaNextSpec, NextTiles
from scope_adapters.adapters.pooled_frames import PooledFrames


class LlavaNextVideoSpec(LlavaNextSpec):
    """LLaVA-NeXT-Video: ``model_type`` "llava_next_video" on Hugging Face. Images and videos."""

    name: Literal["llava_next_video"] = "llava_next_video"  # type: ignore[assignment]


class LlavaNextVideo(NextTiles[LlavaNextVideoSpec], PooledFrames[LlavaNextVideoSpec]):
    """The same tower, projector and tiles as LLaVA-NeXT. Frames are pooled before the projector.

    `layout` and `padding` are of images.
    """

    model_type = "llava_next_video"

    def pool(self, base: Any, values: Tensor) -> Tensor:
        """The mean of each block of patches; the model may pool features by maximum or convolution instead."""
        side = isqrt(values.shape[1])
        square = values.mT.reshape(*values.mT.shape[:2], side, side)
        return avg_pool2d(square, int(base.config.spatial_pool_stride)).flatten(2).mT
