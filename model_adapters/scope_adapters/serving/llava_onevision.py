"""LLaVA-OneVision in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm.model_executor.models.llava_onevision import (
    LlavaOnevisionDummyInputsBuilder,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionMultiModalProcessor,
    LlavaOnevisionProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.processing import PromptReplacement

from scope_adapters.serving.model import PrunedModel
from scope_adapters.serving.processing import Medium, PrunedInfo, PrunedProcessor
from scope_adapters.serving.served import KEY
from scope_adapters.serving.sizes import VIDEO, Size, shape
from scope_adapters.serving.worker import ImageTiles


class ScopeLlavaOnevisionInfo(PrunedInfo, LlavaOnevisionProcessingInfo):  # type: ignore[misc]
    """Processing info: images in several tiles, unpadded and interpolated, and videos of pooled frames; newlines."""


class ScopeLlavaOnevisionProcessor(PrunedProcessor, LlavaOnevisionMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the image's size, or the number of frames."""

    def _sizes(self, medium: Medium, mm_items: Any, out: Any) -> Sequence[Size]:
        if medium.name != VIDEO:
            return super()._sizes(medium, mm_items, out)
        geometry: Any = self.info.served.geometry(self.info.served.default)
        return [geometry.video(len(frames)) for frames in out[medium.pixels]]

    def _check_pixels(self, medium: Medium, out: Any, number: int, size: Size) -> None:
        if medium.name != VIDEO:
            return super()._check_pixels(medium, out, number, size)
        (height, width), wanted = out[medium.pixels][number].shape[-2:], shape(size)[1:]
        if (height, width) != wanted:
            raise ValueError(
                f"video {number} became frames of {width} x {height} pixels, but the model reads frames of "
                f"{wanted[1]} x {wanted[0]}; omit `size` from the options for the video processor"
            )
        return None

    def _get_prompt_updates(
        self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, object], out_mm_kwargs: Any
    ) -> Sequence[Any]:
        served, token = self.info.served, self.info.get_hf_config().video_token_index
        asked, pixels = served.asked(hf_processor_mm_kwargs.get(KEY)), "pixel_values_videos"
        geometry: Any = served.geometry(asked)

        def placeholders(number: int) -> list[int]:
            item = out_mm_kwargs[VIDEO][number]
            if pixels not in item:
                raise ValueError(f"{KEY}: video embeddings are not served for {geometry.host}; send videos")
            return [token] * served.check_rows(asked, geometry.video(len(item[pixels].data)))

        videos = PromptReplacement(modality=VIDEO, target=[token], replacement=placeholders)
        images = super()._get_prompt_updates(mm_items, hf_processor_mm_kwargs, out_mm_kwargs)
        return [*images, videos]


@MULTIMODAL_REGISTRY.register_processor(
    ScopeLlavaOnevisionProcessor, info=ScopeLlavaOnevisionInfo, dummy_inputs=LlavaOnevisionDummyInputsBuilder
)
class ScopeLlavaOnevisionForConditionalGeneration(PrunedModel, LlavaOnevisionForConditionalGeneration):  # type: ignore[misc]
    """vLLM's LLaVA-OneVision, with tokens selected before or after the projector; rows are picked after it."""

    def items(self, name: str, given: Mapping[str, Any], specs: Sequence[str]) -> list[ImageTiles]:
        """The images, several tiles each, or the videos, a tile for each frame."""
        if name != VIDEO:
            return super().items(name, given, specs)
        geometry: Any = self.served.geometry(self.served.default)
        videos = zip(given["pixel_values_videos"], specs, strict=True)
        return [ImageTiles(frames, geometry.video(len(frames)), spec) for frames, spec in videos]

    def images(self, inputs: Any, specs: Sequence[str]) -> list[ImageTiles]:
        """The images, several tiles each."""
        return self.tiled_images(inputs, specs)
