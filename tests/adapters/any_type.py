"""Tiny models of types that no adapter is written for, with random weights. Nothing is read from disk."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers as hf
from torch import Tensor

from adapters.installed import beams_get_whole_groups
from adapters.models import VOCABULARY, _draw, shared
from scope_adapters.adapters.geometry import geometry_of

PLACEHOLDER = 150
TEXT: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "max_position_embeddings": 2048,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
SIGLIP = {**VISION, "model_type": "siglip_vision_model"}
PACKED: dict[str, Any] = {
    "depth": 3,
    "num_heads": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "out_hidden_size": 64,
    "patch_size": 7,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
}
EXPERTS = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
MARKS = {
    "image_token_id": PLACEHOLDER,
    "video_token_id": 151,
    "image_start_token_id": 152,
    "image_end_token_id": 153,
    "video_start_token_id": 154,
    "video_end_token_id": 155,
}


def _axes(*section: int, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": list(section), **more}}


TYPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "aya_vision": ("AyaVision", {"text_config": {**TEXT, "model_type": "cohere2"}, "vision_config": SIGLIP}),
    "cohere2_vision": ("Cohere2Vision", {"text_config": {**TEXT, "model_type": "cohere2"}, "vision_config": SIGLIP}),
    "deepseek_vl": ("DeepseekVL", {"text_config": {**TEXT, "model_type": "llama"}, "vision_config": SIGLIP}),
    "glm4v": (
        "Glm4v",
        {"text_config": {**TEXT, **_axes(2, 3, 3)}, "vision_config": {**PACKED, "patch_size": 28}, **MARKS},
    ),
    "glm46v": (
        "Glm46V",
        {"text_config": {**TEXT, **_axes(2, 3, 3)}, "vision_config": {**PACKED, "patch_size": 28}, **MARKS},
    ),
    "glm4v_moe": (
        "Glm4vMoe",
        {
            "text_config": {**TEXT, **EXPERTS, **_axes(1, 1, 2)},
            "vision_config": PACKED,
            **MARKS,
        },
    ),
    "idefics2": (
        "Idefics2",
        {
            "text_config": {**TEXT, "model_type": "mistral"},
            "vision_config": {**VISION, "image_size": 56},
            "perceiver_config": {
                "hidden_size": 64,
                "resampler_n_latents": 6,
                "resampler_depth": 1,
                "resampler_n_heads": 4,
                "resampler_head_dim": 16,
                "num_key_value_heads": 2,
            },
        },
    ),
    "lfm2_vl": (
        "Lfm2Vl",
        {
            "text_config": {**TEXT, "model_type": "lfm2", "layer_types": ["conv", "full_attention", "full_attention"]},
            "vision_config": {**VISION, "patch_size": 16, "num_patches": 64, "model_type": "siglip2_vision_model"},
        },
    ),
    "lighton_ocr": (
        "LightOnOcr",
        {
            "text_config": {**TEXT, "model_type": "qwen3"},
            "vision_config": {**VISION, "model_type": "pixtral", "head_dim": 16},
        },
    ),
    "ovis2": (
        "Ovis2",
        {
            "text_config": {**TEXT, "model_type": "qwen2"},
            "vision_config": {**VISION, "vocab_size": 40, "hidden_stride": 1, "num_visual_indicator_tokens": 5},
            "hidden_size": 64,
            "visual_indicator_token_ids": [141, 142, 143, 144, 145],
        },
    ),
    "paddleocr_vl": (
        "PaddleOCRVL",
        {
            "text_config": {**TEXT, **_axes(2, 3, 3)},
            "vision_config": {**VISION, "patch_size": 28, "image_size": 112, "spatial_merge_size": 2},
            "vision_start_token_id": 152,
            "vision_end_token_id": 153,
            **MARKS,
        },
    ),
    "perception_lm": (
        "PerceptionLM",
        {
            "text_config": {**TEXT, "model_type": "llama"},
            "vision_config": {
                "model_type": "timm_wrapper",
                "architecture": "vit_pe_core_large_patch14_336",
                "num_labels": 2,
                "model_args": {
                    "embed_dim": 32,
                    "img_size": [56, 56],
                    "depth": 2,
                    "num_heads": 2,
                    "ref_feat_shape": [4, 4],
                    "global_pool": "",
                    "use_post_transformer_norm": False,
                    "class_token": True,
                },
            },
            "projector_pooling_ratio": 2,
        },
    ),
    "deepseek_ocr2": (
        "DeepseekOcr2",
        {
            "text_config": {**TEXT, **EXPERTS, "mlp_layer_types": ["dense", "sparse", "sparse"]},
            "vision_config": {
                "sam_config": {
                    **VISION,
                    "image_size": 256,
                    "patch_size": 16,
                    "window_size": 4,
                    "num_hidden_layers": 2,
                    "output_channels": 16,
                    "global_attn_indexes": [1],
                    "downsample_channels": [32, 64],
                    "mlp_dim": 64,
                },
                "encoder_config": {**TEXT, "vocab_size": 8},
            },
        },
    ),
    "gemma4": (
        "Gemma4",
        {
            "text_config": {
                **TEXT,
                "global_head_dim": 16,
                "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                "num_kv_shared_layers": 0,
                "hidden_size_per_layer_input": 8,
                "vocab_size_per_layer_input": VOCABULARY,
            },
            "vision_config": {
                **VISION,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "patch_size": 8,
                "pooling_kernel_size": 2,
                "position_embedding_size": 64,
            },
            "audio_config": None,
            "audio_token_id": 149,
            "boi_token_id": 148,
            "eoi_token_id": 147,
            **MARKS,
        },
    ),
    "exaone4_5": (
        "Exaone4_5_",
        {
            "text_config": {**TEXT, "model_type": "exaone4"},
            "vision_config": {
                **PACKED,
                "patch_size": 14,
                "num_key_value_heads": 2,
                "fullatt_block_indexes": [1],
                "window_size": 56,
            },
        },
    ),
    "video_llama_3": (
        "VideoLlama3",
        {"text_config": {**TEXT, "model_type": "qwen2"}, "vision_config": VISION},
    ),
    "cosmos3_omni": (
        "Cosmos3Omni",
        {
            "text_config": {**TEXT, **_axes(2, 3, 3)},
            "vision_config": {
                **PACKED,
                "patch_size": 14,
                "num_position_embeddings": 16,
                "deepstack_visual_indexes": [0, 1],
            },
            "vision_start_token_id": 152,
            "vision_end_token_id": 153,
            "image_token_id": PLACEHOLDER,
            "video_token_id": 151,
        },
    ),
    "fast_vlm": (
        "FastVlm",
        {
            "text_config": {**TEXT, "model_type": "qwen2"},
            "vision_config": {
                "model_type": "timm_wrapper",
                "architecture": "fastvit_mci3",
                "do_pooling": True,
                "global_pool": "avg",
                "hidden_size": 128,
                "model_args": {"inference_mode": True, "layers": [1, 1, 1, 1, 1], "embed_dims": [8, 16, 16, 32, 64]},
            },
        },
    ),
    "molmo2": (
        "Molmo2",
        {
            "text_config": {**TEXT, "additional_vocab_size": 8},
            "vision_config": {**VISION, "head_dim": 16, "num_key_value_heads": 2, "image_size": [378, 378]}
            | {"num_position_embeddings": 729, "num_hidden_layers": 2},
            "adapter_config": {
                "vision_feature_layer": [-1, -2],
                "hidden_size": 32,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "intermediate_size": 64,
                "text_hidden_size": 64,
            },
            "image_patch_id": PLACEHOLDER,
            "image_start_token_id": 148,
            "image_end_token_id": 147,
            "low_res_image_start_token_id": 146,
            "frame_start_token_id": 145,
            "frame_end_token_id": 144,
        },
    ),
    "glm_ocr": (
        "GlmOcr",
        {"text_config": {**TEXT, **_axes(2, 3, 3)}, "vision_config": {**PACKED, "patch_size": 28}, **MARKS},
    ),
    "ernie4_5_vl_moe": (
        "Ernie4_5_VLMoe",
        {
            "text_config": {
                **TEXT,
                **_axes(3, 3, 2),
                "moe_num_experts": 4,
                "moe_k": 2,
                "moe_num_shared_experts": 1,
                "moe_intermediate_size": [32, 32],
            },
            "vision_config": {
                "depth": 3,
                "num_heads": 2,
                "hidden_size": 32,
                "intermediate_size": 64,
                "patch_size": 14,
                "spatial_merge_size": 2,
            },
            **MARKS,
        },
    ),
    "kimi_k25": (
        "Kimi_K25",
        {
            "text_config": {
                **TEXT,
                **EXPERTS,
                "model_type": "deepseek_v3",
                "num_key_value_heads": 4,
                "q_lora_rank": 16,
                "kv_lora_rank": 16,
                "qk_rope_head_dim": 16,
                "qk_nope_head_dim": 16,
                "v_head_dim": 16,
            },
            "vision_config": {**VISION, "pos_emb_height": 8, "pos_emb_width": 8},
            "projection_hidden_size": 32,
            "video_token_id": 151,
            "vision_start_token_id": 152,
            "vision_end_token_id": 153,
        },
    ),
    "minicpmv4_6": (
        "MiniCPMV4_6",
        {
            "text_config": {
                **TEXT,
                "model_type": "qwen3_5_text",
                "layer_types": ["linear_attention", "full_attention", "full_attention"],
                "linear_num_key_heads": 2,
                "linear_num_value_heads": 4,
                "linear_key_head_dim": 16,
                "linear_value_head_dim": 16,
            },
            "vision_config": VISION,
            "insert_layer_id": 1,
            "image_size": 56,
            "video_token_id": 151,
        },
    ),
    "gemma3n": (
        "Gemma3n",
        {
            "text_config": {
                **TEXT,
                "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
                "num_kv_shared_layers": 0,
                "hidden_size_per_layer_input": 8,
                "vocab_size_per_layer_input": 140,
                "laurel_rank": 4,
            },
            # one of timm's tiny towers, since the published one has hundreds of layers that no option leaves out
            "vision_config": {
                "architecture": "test_efficientnet",
                "hidden_size": 256,
                "vocab_offset": 140,
                "vocab_size": 11,
            },
            "audio_config": {
                "hidden_size": 32,
                "conf_num_hidden_layers": 1,
                "conf_num_attention_heads": 2,
                "vocab_offset": 151,
                "vocab_size": 9,
                "input_feat_size": 16,
                "sscp_conv_channel_size": [8, 4],
            },
            "vision_soft_tokens_per_image": 49,
            "audio_token_id": 152,
            "boi_token_id": 148,
            "eoi_token_id": 147,
            "boa_token_id": 146,
            "eoa_token_id": 145,
        },
    ),
    "video_llava": (
        "VideoLlava",
        {
            "text_config": {**TEXT, "model_type": "llama"},
            "vision_config": {**VISION, "model_type": "clip_vision_model"},
            "video_token_index": 151,
        },
    ),
    "janus": (
        "Janus",
        {
            "text_config": {**TEXT, "model_type": "llama"},
            "vision_config": {**VISION, "projection_dim": 64},
            "vq_config": {
                "base_channels": 32,
                "channel_multiplier": [1, 1],
                "num_embeddings": 8,
                "num_res_blocks": 1,
                "latent_channels": 32,
                "projection_dim": 64,
                "image_token_embed_dim": 64,
            },
        },
    ),
    "got_ocr2": (
        "GotOcr2",
        {
            "text_config": {**TEXT, "model_type": "qwen2"},
            "vision_config": {
                **VISION,
                "image_size": 256,
                "patch_size": 16,
                "window_size": 4,
                "num_hidden_layers": 2,
                "output_channels": 16,
                "global_attn_indexes": [1],
                "mlp_dim": 64,
            },
        },
    ),
    "granite_docling": (
        "GraniteDocling",
        {
            "text_config": TEXT,
            "vision_config": {
                **VISION,
                "out_hidden_size": 64,
                "scale_factor": 2,
                "deepstack_visual_indexes": [0, 1],
            },
        },
    ),
    "pixtral": (
        "Llava",
        {
            "text_config": {**TEXT, "model_type": "mistral"},
            "vision_config": {**VISION, "model_type": "pixtral", "head_dim": 16},
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
    ),
}
"""Classes without their endings, and configs; a placeholder is given where a config does not name its own."""
_QFORMER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "encoder_hidden_size": 32,
}
_BLIP: dict[str, Any] = {
    "text_config": {**TEXT, "model_type": "opt", "ffn_dim": 128, "word_embed_proj_dim": 64},
    "vision_config": VISION,
    "qformer_config": {**_QFORMER, "vocab_size": VOCABULARY},
    "num_query_tokens": 6,
}
REFUSED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "blip-2": ("Blip2", _BLIP),
    "instructblip": ("InstructBlip", _BLIP),
    "granite4_vision": (
        "Granite4Vision",
        {
            "text_config": TEXT,
            "vision_config": {**VISION, "model_type": "siglip_vision_model", "hidden_size": 64},
            "qformer_config": {
                **_QFORMER,
                "model_type": "blip_2_qformer",
                "hidden_size": 64,
                "num_attention_heads": 1,
                "encoder_hidden_size": 64,
                "num_hidden_layers": 1,
                "cross_attention_frequency": 1,
            },
            "vision_feature_select_strategy": "full",
            "downsample_rate": "1/2",
            "deepstack_layer_map": [[-1, 0]],
            "spatial_target_layers": [0, 1, 1, 2],
            "image_grid_pinpoints": [[56, 112], [112, 56]],
        },
    ),
    "llama4": (
        "Llama4",
        {
            "text_config": {
                **TEXT,
                "intermediate_size_mlp": 64,
                "num_local_experts": 2,
                "no_rope_layers": [1, 1, 1],
                "moe_layers": [1],
            },
            "vision_config": {
                **VISION,
                "intermediate_size": 128,
                "vision_output_dim": 64,
                "projector_input_dim": 64,
                "projector_output_dim": 64,
            },
            "boi_token_index": 148,
            "eoi_token_index": 147,
        },
    ),
}
"""The same, of types that cannot be served."""


AXES = ("glm4v", "glm46v", "glm4v_moe", "paddleocr_vl", "cosmos3_omni", "glm_ocr", "ernie4_5_vl_moe")
"""Types whose positions have several axes: embeddings alone do not give their logits."""
BESIDE = ("gemma4", "granite_docling")
"""Types whose language model reads more than embeddings: ids, or features of further layers."""
LONG = ("deepseek_ocr2", "molmo2")
"""Types whose images have hundreds of tokens, fixed by their towers: the kit would take minutes."""
SMALL: Mapping[str, tuple[int, Mapping[str, Tensor]]] = {
    "gemma4": (
        4,
        {
            "pixel_values": torch.zeros(1, 16, 192),
            "image_position_ids": torch.cartesian_prod(torch.arange(4), torch.arange(4))[None].flip(-1),
        },
    ),
    "minicpmv4_6": (4, {"pixel_values": torch.zeros(1, 3, 14, 14 * 64), "target_sizes": torch.tensor([[8, 8]])}),
    "lfm2_vl": (
        4,
        {
            "pixel_values": torch.zeros(1, 20, 768),
            "spatial_shapes": torch.tensor([[4, 4]]),
            "pixel_attention_mask": (torch.arange(20) < 16)[None].int(),
        },
    ),
}
"""Tokens and arguments of a small image, where a processor makes hundreds of tokens or patches of the smallest."""
PLACELESS = ("idefics2", "fast_vlm", "gemma3n", "got_ocr2", *SMALL, *LONG)
"""Types whose tokens have no place that a trial can prove."""


def available() -> list[str]:
    """The types that the installed transformers has, with a ``forward`` that takes encoded images."""
    types = {**TYPES, **REFUSED}
    classes = {name: getattr(hf, f"{kind}ForConditionalGeneration", None) for name, (kind, _) in types.items()}
    takes = {"mm_encoder_outputs", "pixel_values"}  # up to 5.20, Video-LLaVA has another name for pixels
    return [name for name, made in classes.items() if made and takes <= {*inspect.signature(made.forward).parameters}]


def served() -> list[str]:
    """Those of `available` that can be served: by embeddings alone (5.18), not those that read ids beside them."""
    by_features = beams_get_whole_groups(shared("clip"))
    return [name for name in available() if name in TYPES and (by_features or name not in ("gemma3n", "gemma4"))]


@functools.cache
def model(name: str) -> Any:
    """A model of one of `TYPES` or `REFUSED`, built once."""
    kind, options = {**TYPES, **REFUSED}[name]
    made = getattr(hf, f"{kind}Config")
    config = made(**options)
    for token in ("image_patch_id", "image_token_index", "image_token_id"):
        if hasattr(config, token):
            setattr(config, token, PLACEHOLDER)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = getattr(hf, f"{kind}ForConditionalGeneration")._from_config(config)
    _draw(built, 0)
    specials = {value for key, value in vars(config).items() if key.endswith(("_token_id", "_token_index"))}
    built.generation_config.eos_token_id, built.generation_config.pad_token_id = None, 0
    built.generation_config.suppress_tokens = sorted({one for one in specials if isinstance(one, int)} | {PLACEHOLDER})
    return built.eval()


@dataclass(frozen=True)
class Prompts:
    """Prompts for a model of `TYPES`, padded on the left; images are random pixels in the blank image's shape.

    Attributes:
        name: The model's name.
        rows: Ids of each prompt.
        images: Arguments of each image.
        owners: The prompt of each image.
    """

    name: str
    rows: tuple[tuple[int, ...], ...]
    images: tuple[Mapping[str, Any], ...]
    owners: tuple[int, ...]

    @property
    def inputs(self) -> dict[str, Any]:
        """Keyword arguments of ``forward`` and ``generate``."""
        longest = max(map(len, self.rows))
        ids = torch.tensor([[*[0] * (longest - len(row)), *row] for row in self.rows])
        mask = torch.tensor([[*[0] * (longest - len(row)), *[1] * len(row)] for row in self.rows])
        kinds, takes = (ids == PLACEHOLDER).int(), inspect.signature(type(model(self.name)).forward).parameters
        types = {key: kinds for key in ("mm_token_type_ids", "token_type_ids") if key in takes}
        names = self.images[0] if self.images else ()
        images = {key: _joined([image[key] for image in self.images]) for key in names}
        if "target_sizes" in images:  # patches of all images side by side
            images["pixel_values"] = _joined([image["pixel_values"] for image in self.images], -1)
        return {"input_ids": ids, "attention_mask": mask, **types, **images}

    def row(self, number: int) -> Prompts:
        """One prompt alone."""
        mine = tuple(one for one, owner in zip(self.images, self.owners, strict=True) if owner == number)
        return Prompts(self.name, (self.rows[number],), mine, (0,) * len(mine))


def prompts(name: str) -> Prompts:
    """The kit's three prompts: one image, none, two."""
    known, generator = geometry_of(model(name)), torch.Generator().manual_seed(1)
    count, image = SMALL.get(name, (known.rows, known.images))
    images = tuple(
        {
            key: torch.randn(value.shape, generator=generator) if _is_pixels(value) else value
            for key, value in image.items()
        }
        for _ in range(3)
    )
    run = [PLACEHOLDER] * count
    rows = ((1, 5, 6, *run, 7), (1, 8, 9), (1, *run, 10, 11, *run, 12, 13))
    return Prompts(name, rows, images, (0, 2, 2))


def _is_pixels(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _joined(values: Sequence[Any], axis: int = 0) -> Any:
    if isinstance(values[0], Tensor):
        return torch.cat(list(values), axis) if values[0].dim() else values[0]
    return [one for value in values for one in value] if isinstance(values[0], list) else values[0]
