"""Qwen3-VL in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from vllm.model_executor.models.qwen3_vl import (
    Qwen3VLDummyInputsBuilder,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMultiModalProcessor,
    Qwen3VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.qwen import PrunedGridInfo, PrunedGridModel, PrunedGridProcessor


class ScopeQwen3VLInfo(PrunedGridInfo, Qwen3VLProcessingInfo):  # type: ignore[misc]
    """Processing info: images, each with its own grid."""

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """Those of images; Qwen3-VL's own method adds some to those of videos, which are not served."""
        found: dict[str, set[str]] = super(Qwen3VLProcessingInfo, self).get_supported_mm_processor_kwargs()
        return found


class ScopeQwen3VLProcessor(PrunedGridProcessor, Qwen3VLMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the image's grid."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeQwen3VLProcessor, info=ScopeQwen3VLInfo, dummy_inputs=Qwen3VLDummyInputsBuilder
)
class ScopeQwen3VLForConditionalGeneration(PrunedGridModel, Qwen3VLForConditionalGeneration):  # type: ignore[misc]
    """vLLM's Qwen3-VL, with images selected before or after its merger; DeepStack's features go with their rows."""
