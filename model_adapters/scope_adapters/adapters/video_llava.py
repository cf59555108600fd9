"""Video-LLaVA on Hugging Face: images and videos, each with a tower of its own; one token per patch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from scope_adapters.adapters.pooled_frames import PooledFrames
from scope_adapters.compat.signatures import parameters
from scope_adapters.compat.transformers import installed_version
from scope_adapters.hosts.huggingface.image_rows import Encoded
from scope_adapters.hosts.methods import unwrap
from scope_core import AdapterError, Layout
from scope_core.adapters import Declaration, Session
from scope_core.parts import ComponentSpec


class VideoLlavaSpec(ComponentSpec):
    """Video-LLaVA: ``model_type`` "video_llava" on Hugging Face. Images and videos."""

    name: Literal["video_llava"] = "video_llava"
    frame_cls: Literal["candidate", "keep", "drop"] = "candidate"
    """The treatment of the CLS row of each frame, which the language model reads before the patches: a candidate
    without a place, or kept or dropped always and not counted in the budget. Parts that read rows and columns of all
    tokens take videos with "keep" or "drop"."""


class VideoLlava(PooledFrames[VideoLlavaSpec]):
    """CLIP-like towers and one projector. An image has a row per patch; a frame has one for CLS, too."""

    spec: Any  # VideoLlavaSpec
    model_type = "video_llava"
    tower = "image_tower"
    pooler = "tensor"
    video_pooler = "tensor"
    former_names: Mapping[str, str] = MappingProxyType({"pixel_values_images": "pixel_values"})
    lead = 1

    def check(self, model: Any) -> Declaration:
        """The declaration, if ``forward`` has the names of arguments that are known here."""
        inner = unwrap(model)
        if "pixel_values" not in parameters(type(inner).forward):
            raise AdapterError(
                f"{type(inner).__name__} of the installed transformers {installed_version()} has no argument "
                f"pixel_values; adapter 'video_llava' needs a release that has it. `scope doctor` lists those tested"
            )
        return super().check(model)

    def pool(self, base: Any, values: Tensor) -> Tensor:
        """The values: every patch is a token."""
        return values

    def ends(self, base: Any) -> str:
        """The treatment of CLS rows, unless they are candidates."""
        return "" if self.spec.frame_cls == "candidate" else str(self.spec.frame_cls)

    def apart(self, frames: int, rows: int) -> list[int]:
        """The first row of each frame."""
        return [frame * rows for frame in range(frames)]

    def video_layout(self, model: Any, sizes: Sequence[tuple[int, int, int]]) -> Layout:
        """The layout of videos, as the tower of videos cuts frames."""
        return super(VideoLlava, self._of_videos()).video_layout(model, sizes)

    def encode_videos(self, model: Any, videos: Mapping[str, Any], ids: Tensor, attachment: Session) -> Encoded:
        """Encoded videos, by one pass of their own tower over all frames."""
        return super(VideoLlava, self._of_videos()).encode_videos(model, videos, ids, attachment)

    def _of_videos(self) -> VideoLlava:
        """This adapter, with the tower that reads videos."""
        made = copy.copy(self)
        made.tower = "video_tower"
        return made
