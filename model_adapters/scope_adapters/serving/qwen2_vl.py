"""Qwen2-VL in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from vllm.model_executor.models.qwen2_vl import (
    Qwen2VLDummyInputsBuilder,
    Qwen2VLForConditionalGeneration,
    Qwen2VLMultiModalProcessor,
    Qwen2VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.qwen import PrunedGridInfo, PrunedGridModel, PrunedGridProcessor


class ScopeQwen2VLInfo(PrunedGridInfo, Qwen2VLProcessingInfo):  # type: ignore[misc]
    """Processing info: images, each with its own grid."""


class ScopeQwen2VLProcessor(PrunedGridProcessor, Qwen2VLMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the image's grid."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeQwen2VLProcessor, info=ScopeQwen2VLInfo, dummy_inputs=Qwen2VLDummyInputsBuilder
)
class ScopeQwen2VLForConditionalGeneration(PrunedGridModel, Qwen2VLForConditionalGeneration):  # type: ignore[misc]
    """vLLM's Qwen2-VL, with images pruned before or after its merger."""
