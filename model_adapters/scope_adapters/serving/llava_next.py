"""LLaVA-NeXT in vLLM, pruned. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vllm.model_executor.models.llava import LlavaDummyInputsBuilder
from vllm.model_executor.models.llava_next import (
    LlavaNextForConditionalGeneration,
    LlavaNextMultiModalProcessor,
    LlavaNextProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.model import PrunedModel
from scope_adapters.serving.processing import PrunedInfo, PrunedProcessor
from scope_adapters.serving.worker import Picture


class ScopeLlavaNextInfo(PrunedInfo, LlavaNextProcessingInfo):  # type: ignore[misc]
    """Several tiles, unpadded, newline tokens beside the candidates."""


class ScopeLlavaNextProcessor(PrunedProcessor, LlavaNextMultiModalProcessor):  # type: ignore[misc]
    """Placeholders by the spec and the picture's size."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeLlavaNextProcessor, info=ScopeLlavaNextInfo, dummy_inputs=LlavaDummyInputsBuilder
)
class ScopeLlavaNextForConditionalGeneration(PrunedModel, LlavaNextForConditionalGeneration):  # type: ignore[misc]
    """vLLM's LLaVA-NeXT, its pictures pruned before the projector or behind it."""

    def pictures(self, inputs: Any, specs: Sequence[str]) -> list[Picture]:
        """Several tiles each."""
        return self.tiled_pictures(inputs, specs)
