"""Qwen3-VL in vLLM with pruning. Imported by vLLM alone, in its processes."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.models.qwen3_vl import (
    Qwen3VLDummyInputsBuilder,
    Qwen3VLForConditionalGeneration,
    Qwen3VLMultiModalProcessor,
    Qwen3VLProcessingInfo,
)
from vllm.multimodal import MULTIMODAL_REGISTRY

from scope_adapters.serving.processing import Medium
from scope_adapters.serving.qwen import PrunedGridInfo, PrunedGridProcessor
from scope_adapters.serving.qwen_model import PrunedGridModel
from scope_adapters.serving.sizes import VIDEO


class ScopeQwen3VLInfo(PrunedGridInfo, Qwen3VLProcessingInfo):  # type: ignore[misc]
    """Processing info: images and videos, each with its own grid."""

    def get_supported_mm_processor_kwargs(self) -> dict[str, set[str]]:
        """vLLM's; Qwen3-VL's own method adds some to those of videos, which may not be served."""
        above: Any = super() if VIDEO in self.served.media else super(Qwen3VLProcessingInfo, self)
        found: dict[str, set[str]] = above.get_supported_mm_processor_kwargs()
        return found


class ScopeQwen3VLProcessor(PrunedGridProcessor, Qwen3VLMultiModalProcessor):  # type: ignore[misc]
    """Processor: the number of placeholders follows from the spec and the item's grid; times stay between frames."""

    def _text(self, out: Any, number: int) -> list[int]:
        config, times = self.info.get_hf_config(), out["timestamps"][number]
        written = self.get_video_repl(
            tokens_per_frame=[0] * len(times),
            timestamps=times,
            tokenizer=self.info.get_tokenizer(),
            vision_start_token_id=config.vision_start_token_id,
            vision_end_token_id=config.vision_end_token_id,
            video_token_id=config.video_token_id,
        )
        return [int(token) for token in written.full]

    def _target(self, medium: Medium) -> list[int]:
        config, token = self.info.get_hf_config(), super()._target(medium)
        if medium.name != VIDEO or self._expands_only_video_token(self.info.get_hf_processor()):
            return token
        return [config.vision_start_token_id, *token, config.vision_end_token_id]


@MULTIMODAL_REGISTRY.register_processor(
    ScopeQwen3VLProcessor, info=ScopeQwen3VLInfo, dummy_inputs=Qwen3VLDummyInputsBuilder
)
class ScopeQwen3VLForConditionalGeneration(PrunedGridModel, Qwen3VLForConditionalGeneration):  # type: ignore[misc]
    """vLLM's Qwen3-VL, pruned before or after its merger; DeepStack's features go with their rows."""
