"""LLaVA-1.5 in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from vllm.model_executor.models.llava import (
    LlavaDummyInputsBuilder,
    LlavaForConditionalGeneration,
    LlavaMultiModalProcessor,
    LlavaProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.model import PrunedModel
from scope_adapters.serving.processing import PrunedInfo, PrunedProcessor


class ScopeLlavaInfo(PrunedInfo, LlavaProcessingInfo):  # type: ignore[misc]
    """Processing info: one tile, every patch a candidate."""


class ScopeLlavaProcessor(PrunedProcessor, LlavaMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec."""


@MULTIMODAL_REGISTRY.register_processor(ScopeLlavaProcessor, info=ScopeLlavaInfo, dummy_inputs=LlavaDummyInputsBuilder)
class ScopeLlavaForConditionalGeneration(PrunedModel, LlavaForConditionalGeneration):  # type: ignore[misc]
    """vLLM's LLaVA-1.5, with images pruned before or after the projector."""
