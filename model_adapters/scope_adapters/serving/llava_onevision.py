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

from scope_adapters.serving.model import PrunedModel
from scope_adapters.serving.processing import PrunedInfo, PrunedProcessor
from scope_adapters.serving.worker import ImageTiles


class ScopeLlavaOnevisionInfo(PrunedInfo, LlavaOnevisionProcessingInfo):  # type: ignore[misc]
    """Processing info: images; several tiles, unpadded and interpolated, newline tokens between the candidates."""

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """Images; videos are not served."""
        return {"image": None}


class ScopeLlavaOnevisionProcessor(PrunedProcessor, LlavaOnevisionMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the image's size."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeLlavaOnevisionProcessor, info=ScopeLlavaOnevisionInfo, dummy_inputs=LlavaOnevisionDummyInputsBuilder
)
class ScopeLlavaOnevisionForConditionalGeneration(PrunedModel, LlavaOnevisionForConditionalGeneration):  # type: ignore[misc]
    """vLLM's LLaVA-OneVision, with images selected before or after the projector; rows are picked after it."""

    def images(self, inputs: Any, specs: Sequence[str]) -> list[ImageTiles]:
        """The images, several tiles each."""
        return self.tiled_images(inputs, specs)
