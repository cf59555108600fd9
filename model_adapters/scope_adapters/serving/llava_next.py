"""LLaVA-NeXT in vLLM with pruning. Imported by vLLM alone, in its processes."""

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
from scope_adapters.serving.worker import ImageTiles


class ScopeLlavaNextInfo(PrunedInfo, LlavaNextProcessingInfo):  # type: ignore[misc]
    """Processing info: several tiles, unpadded, newline tokens between the candidates."""


class ScopeLlavaNextProcessor(PrunedProcessor, LlavaNextMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the image's size."""


@MULTIMODAL_REGISTRY.register_processor(
    ScopeLlavaNextProcessor, info=ScopeLlavaNextInfo, dummy_inputs=LlavaDummyInputsBuilder
)
class ScopeLlavaNextForConditionalGeneration(PrunedModel, LlavaNextForConditionalGeneration):  # type: ignore[misc]
    """vLLM's LLaVA-NeXT, with images pruned before or after the projector."""

    def images(self, inputs: Any, specs: Sequence[str]) -> list[ImageTiles]:
        """The images, several tiles each."""
        return self.tiled_images(inputs, specs)
