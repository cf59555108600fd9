"""Qwen2-VL in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from vllm.model_executor.models.qwen2_vl import (
    Qwen2VLDummyInputsBuilder,
    Qwen2VLForConditionalGeneration,
    Qwen2VLMultiModalProcessor,
    Qwen2VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.qwen import PrunedGridInfo, PrunedGridProcessor
from scope_adapters.serving.qwen_model import PrunedGridModel


class ScopeQwen2VLInfo(PrunedGridInfo, Qwen2VLProcessingInfo):  # type: ignore[misc]
    """Processing info: images and videos, each with its own grid."""


class ScopeQwen2VLProcessor(PrunedGridProcessor, Qwen2VLMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the item's grid."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeQwen2VLProcessor, info=ScopeQwen2VLInfo, dummy_inputs=Qwen2VLDummyInputsBuilder
)
class ScopeQwen2VLForConditionalGeneration(PrunedGridModel, Qwen2VLForConditionalGeneration):  # type: ignore[misc]
    """vLLM's Qwen2-VL, with images and videos pruned before or after its merger."""
