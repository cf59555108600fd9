"""The names of vLLM that this plugin uses, and the releases that were tested.

If another release has moved a name, the engine does not start; the error lists all missing names.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from dataclasses import dataclass
from typing import Any

from scope_core import AdapterError

TESTED = ("0.32", "0.33")
"""Tested releases of vLLM; docs/serving.md says how."""

log = logging.getLogger(f"vllm.{__package__}")


@dataclass(frozen=True)
class TouchPoint:
    """One name of vLLM.

    Attributes:
        module: Its module.
        path: Dotted path of the name below the module.
        use: Its use in the plugin.
        arguments: Arguments that it must have.
        documented: True if vLLM documents it for models out of its tree.
    """

    module: str
    path: str
    use: str
    arguments: tuple[str, ...] = ()
    documented: bool = False

    @property
    def gone(self) -> str:
        """The missing name, with missing arguments; empty if nothing is missing."""
        name = f"{self.module}.{self.path}"
        try:
            found: Any = importlib.import_module(self.module)
            for step in self.path.split("."):
                found = getattr(found, step)
        except (ImportError, AttributeError):
            return name
        known = inspect.signature(found).parameters if self.arguments else {}
        lost = [argument for argument in self.arguments if argument not in known]
        return f"{name}({', '.join(lost)})" if lost else ""


_LLAVA, _NEXT = "vllm.model_executor.models.llava", "vllm.model_executor.models.llava_next"
_ONEVISION = "vllm.model_executor.models.llava_onevision"
_INTERN = "vllm.model_executor.models.interns1"
_QWEN2, _QWEN25 = "vllm.model_executor.models.qwen2_vl", "vllm.model_executor.models.qwen2_5_vl"
_QWEN3, _LINEAR = "vllm.model_executor.models.qwen3_vl", "vllm.model_executor.layers.linear"
_MODEL = "ForConditionalGeneration"
_CLIP, _SIGLIP = "vllm.model_executor.models.clip", "vllm.model_executor.models.siglip"
_PROCESSOR = "BaseMultiModalProcessor"
_PROCESSING = "vllm.multimodal.processing"

TOUCH_POINTS = (
    TouchPoint("vllm", "ModelRegistry.register_model", "adds the architectures", documented=True),
    TouchPoint("vllm.multimodal", "MULTIMODAL_REGISTRY.register_processor", "adds the processors", documented=True),
    TouchPoint(_PROCESSING, "BaseProcessingInfo.model_id", "the spec in cache keys", documented=True),
    TouchPoint(_PROCESSING, "PromptReplacement", "placeholders", ("modality", "target", "replacement"), True),
    TouchPoint("vllm.multimodal.inputs", "MultiModalFieldConfig.batched", "the spec beside pixels", (), True),
    TouchPoint(
        _PROCESSING,
        f"{_PROCESSOR}._get_prompt_updates",
        "placeholders by the spec",
        ("mm_items", "hf_processor_mm_kwargs", "out_mm_kwargs"),
        True,
    ),
    TouchPoint(
        _PROCESSING,
        f"{_PROCESSOR}._get_mm_fields_config",
        "the spec beside pixels",
        ("hf_inputs", "hf_processor_mm_kwargs"),
        True,
    ),
    TouchPoint(
        _PROCESSING,
        f"{_PROCESSOR}._apply_hf_processor_main",
        "reads a request's spec, refuses what cannot be met",
        ("mm_items", "hf_kwargs"),
    ),
    TouchPoint(_PROCESSING, f"{_PROCESSOR}._get_mm_hashes", "the spec in a client's own names", ("inputs",)),
    TouchPoint(
        _PROCESSING, "BaseProcessingInfo.validate_num_items", "refuses media by name", ("modality", "num_items"), True
    ),
    TouchPoint(_PROCESSING, "BaseProcessingInfo.get_mm_max_tokens_per_item", "sizing of memory", ("seq_len",), True),
    TouchPoint("vllm.multimodal.parse", "ImageProcessorItems.get_image_size", "sizes of images", ("item_idx",)),
    TouchPoint("vllm.multimodal.parse", "ImageEmbeddingItems.get_feature_size", "embeddings in place of images"),
    TouchPoint(_LLAVA, "LlavaForConditionalGeneration.embed_multimodal", "encodes, selects", ("kwargs",), True),
    TouchPoint(_LLAVA, "LlavaForConditionalGeneration._parse_and_validate_image_input", "pixels", ("kwargs",)),
    TouchPoint(
        _LLAVA, "LlavaForConditionalGeneration._image_pixels_to_features", "the tower", ("vision_tower", "pixel_values")
    ),
    TouchPoint(_LLAVA, "LlavaProcessingInfo.get_num_image_tokens", "placeholders", ("image_width", "image_height")),
    TouchPoint(_LLAVA, "LlavaProcessingInfo.get_image_size_with_most_features", "sizing of memory"),
    TouchPoint(_LLAVA, "LlavaMultiModalProcessor", "extended"),
    TouchPoint(_LLAVA, "LlavaDummyInputsBuilder", "sizing of memory"),
    TouchPoint(_NEXT, "LlavaNextForConditionalGeneration.embed_multimodal", "encodes, selects", ("kwargs",), True),
    TouchPoint(_NEXT, "LlavaNextForConditionalGeneration._parse_and_validate_image_input", "pixels", ("kwargs",)),
    TouchPoint(
        _NEXT,
        "LlavaNextForConditionalGeneration._image_pixels_to_features",
        "the tower",
        ("vision_tower", "pixel_values"),
    ),
    TouchPoint(_NEXT, "LlavaNextProcessingInfo", "extended"),
    TouchPoint(_NEXT, "LlavaNextMultiModalProcessor", "extended"),
    TouchPoint(_ONEVISION, f"LlavaOnevision{_MODEL}.embed_multimodal", "encodes, selects", ("kwargs",), True),
    TouchPoint(_ONEVISION, f"LlavaOnevision{_MODEL}._parse_and_validate_image_input", "pixels", ("kwargs",)),
    TouchPoint(
        _ONEVISION,
        f"LlavaOnevision{_MODEL}._image_pixels_to_features",
        "the tower",
        ("vision_tower", "pixel_values"),
    ),
    TouchPoint(_ONEVISION, "LlavaOnevisionProcessingInfo", "extended"),
    TouchPoint(_ONEVISION, "LlavaOnevisionMultiModalProcessor", "extended"),
    TouchPoint(_ONEVISION, "LlavaOnevisionDummyInputsBuilder", "sizing of memory"),
    TouchPoint(_INTERN, f"InternS1{_MODEL}.embed_multimodal", "encodes, selects", ("kwargs",), True),
    TouchPoint(_INTERN, f"InternS1{_MODEL}._parse_and_validate_image_input", "pixels", ("kwargs",)),
    TouchPoint(_INTERN, f"InternS1{_MODEL}.pixel_shuffle", "merges patches", ("scale_factor",)),
    TouchPoint(
        _INTERN,
        "InternS1ProcessingInfo.get_num_image_tokens",
        "the largest image",
        ("image_width", "image_height", "processor", "mm_kwargs"),
    ),
    TouchPoint(_INTERN, "InternS1ProcessingInfo.get_image_size_with_most_features", "sizing of memory"),
    TouchPoint(_INTERN, "InternS1ProcessingInfo.get_hf_processor", "its ids of tokens around an image"),
    TouchPoint(_INTERN, "InternS1MultiModalProcessor", "extended; its field `image_num_patches`"),
    TouchPoint(_INTERN, "InternS1DummyInputsBuilder", "sizing of memory"),
    TouchPoint(f"{_INTERN}_vit", "InternS1VisionModel.forward", "the tower", ("pixel_values",)),
    TouchPoint(f"{_INTERN}_vit", "InternSdpaAttention", "its attn, num_heads, head_dim, scale"),
    TouchPoint(_PROCESSING, "PromptUpdateDetails.select_token_id", "placeholders", ("seq", "embed_token_id"), True),
    TouchPoint(_PROCESSING, "PromptUpdateDetails.from_seq", "placeholders with text among them", ("seq",), True),
    *(
        point
        for module, name, tower in (
            (_QWEN2, "Qwen2VL", "Qwen2VisionTransformer"),
            (_QWEN25, "Qwen2_5_VL", "Qwen2_5_VisionTransformer"),
            (_QWEN3, "Qwen3VL", "Qwen3_VisionTransformer"),
        )
        for point in (
            TouchPoint(module, f"{name}{_MODEL}.embed_multimodal", "encodes, selects", ("kwargs",), True),
            TouchPoint(module, f"{name}{_MODEL}.embed_input_ids", "places of rows", ("is_multimodal",)),
            TouchPoint(module, f"{name}{_MODEL}.forward", "their positions", ("positions",)),
            TouchPoint(module, f"{name}{_MODEL}.get_mrope_input_positions", "positions of the prompt"),
            TouchPoint(module, f"{tower}.forward", "the tower", ("grid_thw", "encoder_metadata")),
            TouchPoint(module, f"{tower}.prepare_encoder_metadata", "rotation, the order of windows"),
            TouchPoint(module, f"{name}ProcessingInfo._get_vision_info", "sizes after resizing", ("image_width",)),
            TouchPoint(module, f"{name}MultiModalProcessor", "extended"),
            TouchPoint(module, f"{name}DummyInputsBuilder", "sizing of memory"),
        )
    ),
    TouchPoint(
        _QWEN3,
        "Qwen3VLMultiModalProcessor.get_video_repl",
        "the times between frames",
        ("tokens_per_frame", "timestamps", "tokenizer", "vision_start_token_id", "vision_end_token_id"),
    ),
    TouchPoint(_QWEN3, "Qwen3VLMultiModalProcessor._expands_only_video_token", "what stands for a video in a prompt"),
    TouchPoint(_QWEN2, "Qwen2VisionAttention", "its qkv, tp_size, apply_rotary_emb"),
    TouchPoint(_QWEN25, "Qwen2_5_VisionAttention", "likewise; also the attention of Qwen3-VL"),
    TouchPoint(_LINEAR, "QKVParallelLinear", "the heads of a rank"),
    TouchPoint(_CLIP, "CLIPAttention", "its qkv_proj, num_heads_per_partition, head_dim, scale, tp_size"),
    TouchPoint(_SIGLIP, "SiglipAttention", "likewise"),
    TouchPoint("vllm.distributed", "get_tp_group", "one rank's picks for all"),
    TouchPoint("vllm.distributed", "tensor_model_parallel_all_gather", "all heads of a signal", ("input_", "dim")),
)
"""Every name that is used. The tower's own attributes are checked when the engine loads the model."""


def missing() -> list[str]:
    """The names of `TOUCH_POINTS` that the installed vLLM does not have."""
    return [gone for point in TOUCH_POINTS if (gone := point.gone)]


def check() -> None:
    """Refuse a vLLM without the needed names; warn about an untested one.

    Raises:
        AdapterError: lists the missing names.
    """
    import vllm

    version, tested = str(vllm.__version__), ", ".join(f"{release}.x" for release in TESTED)
    if lost := missing():
        raise AdapterError(
            f"scope-core's plugin does not support vLLM {version}, which lacks {', '.join(lost)}. It was tested with "
            f"vLLM {tested}. Try: pip install 'vllm=={TESTED[-1]}.*'"
        )
    if not version.startswith(tuple(f"{release}." for release in TESTED)):
        log.warning(
            "scope-core's plugin was tested with vLLM %s, but this is %s. It has all the needed names, but compare "
            "some answers with those of `pip install 'vllm==%s.*'`",
            tested,
            version,
            TESTED[-1],
        )
