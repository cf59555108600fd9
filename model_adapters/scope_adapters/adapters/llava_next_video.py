"""LLaVA-NeXT-Video on Hugging Face, images: as LLaVA-NeXT."""

from __future__ import annotations

from typing import Literal

from scope_adapters.adapters.llava_next import LlavaNextSpec, NextTiles


class LlavaNextVideoSpec(LlavaNextSpec):
    """LLaVA-NeXT-Video: ``model_type`` "llava_next_video" on Hugging Face. Images only; videos are refused."""

    name: Literal["llava_next_video"] = "llava_next_video"  # type: ignore[assignment]


class LlavaNextVideo(NextTiles[LlavaNextVideoSpec]):
    """The same tower, projector and tiles as LLaVA-NeXT."""

    model_type = "llava_next_video"
