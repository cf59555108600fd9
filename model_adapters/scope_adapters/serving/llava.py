"""LLaVA-1.5 in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.llava import (
    LlavaDummyInputsBuilder,
    LlavaForConditionalGeneration,
    LlavaMultiModalProcessor,
    LlavaProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageProcessorItems

from scope_adapters.serving.model import PrunedModel
from scope_adapters.serving.processing import PrunedInfo, PrunedProcessor
from scope_adapters.serving.sizes import check_resized


class ScopeLlavaInfo(PrunedInfo, LlavaProcessingInfo):  # type: ignore[misc]
    """Processing info: one tile, every patch a candidate."""


class ScopeLlavaProcessor(PrunedProcessor, LlavaMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec."""

    def _apply_hf_processor_main(self, mm_items: Any, hf_kwargs: Mapping[str, object]) -> Any:
        shorter = self.info.get_hf_processor().image_processor.size.get("shortest_edge")
        images = mm_items.get("image")
        if shorter and isinstance(images, ImageProcessorItems):
            for number in range(len(images)):
                size = images.get_image_size(number)
                check_resized((size.height, size.width), shorter)
        return super()._apply_hf_processor_main(mm_items, hf_kwargs)


@MULTIMODAL_REGISTRY.register_processor(ScopeLlavaProcessor, info=ScopeLlavaInfo, dummy_inputs=LlavaDummyInputsBuilder)
class ScopeLlavaForConditionalGeneration(PrunedModel, LlavaForConditionalGeneration):  # type: ignore[misc]
    """vLLM's LLaVA-1.5, with images pruned before or after the projector."""
