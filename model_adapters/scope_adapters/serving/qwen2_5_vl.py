"""Qwen2.5-VL in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from vllm.model_executor.models.qwen2_5_vl import (
    Qwen2_5_VLDummyInputsBuilder,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLMultiModalProcessor,
    Qwen2_5_VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.qwen import PrunedGridInfo, PrunedGridProcessor
from scope_adapters.serving.qwen_model import PrunedGridModel


class ScopeQwen25VLInfo(PrunedGridInfo, Qwen2_5_VLProcessingInfo):  # type: ignore[misc]
    """Processing info: images and videos, each with its own grid."""


class ScopeQwen25VLProcessor(PrunedGridProcessor, Qwen2_5_VLMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the item's grid."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeQwen25VLProcessor, info=ScopeQwen25VLInfo, dummy_inputs=Qwen2_5_VLDummyInputsBuilder
)
class ScopeQwen25VLForConditionalGeneration(PrunedGridModel, Qwen2_5_VLForConditionalGeneration):  # type: ignore[misc]
    """vLLM's Qwen2.5-VL, with images and videos pruned before or after its merger."""
