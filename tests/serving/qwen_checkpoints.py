"""Tiny Qwen2-VL, Qwen2.5-VL and Qwen3-VL checkpoints with random weights, which vLLM and Hugging Face both read."""

from __future__ import annotations

from pathlib import Path

import checkpoints
import torch

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
IMAGE = SPECIAL.index("<|image_pad|>")
TEMPLATE = checkpoints.TEMPLATE.replace("<image>\n", "<|vision_start|><|image_pad|><|vision_end|>").replace(
    "{% else %}{{ part['text'] }}",
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part['text'] }}",
)
PIXELS = {"min_pixels": 4 * 28 * 28, "max_pixels": 256 * 28 * 28}
"""Images of 4 to 256 tokens."""


def qwen(folder: Path, kind: str, patch: int = 14) -> Path:
    """Write a ``qwen2_vl``, ``qwen2_5_vl`` (windows of 2 x 2 tokens) or ``qwen3_vl`` (DeepStack of two layers)."""
    import transformers as hf

    name = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[kind]
    tokenizer = checkpoints.words(SPECIAL, "<|image_pad|>")
    text = {
        "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 8192,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 6, 6], "rope_theta": 1e4},
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {"depth": 3, "num_heads": 4, "patch_size": patch, "temporal_patch_size": 2, "spatial_merge_size": 2}
    if kind == "qwen2_vl":
        vision |= {"embed_dim": 128, "hidden_size": 128, "mlp_ratio": 2}
    else:
        vision |= {"hidden_size": 128, "intermediate_size": 256, "out_hidden_size": 128}
    if kind == "qwen2_5_vl":
        vision |= {"window_size": 56, "fullatt_block_indexes": [1, 3], "depth": 4}
    if kind == "qwen3_vl":
        vision |= {"deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64}
        text["head_dim"] = 32
        text["rope_parameters"] |= {"mrope_section": [6, 5, 5], "mrope_interleaved": True}
    ids = {"image_token_id": IMAGE, "video_token_id": IMAGE + 1, "vision_start_token_id": 4, "vision_end_token_id": 5}
    config = getattr(hf, f"{name}Config")(text_config=text, vision_config=vision, tie_word_embeddings=False, **ids)
    images = hf.Qwen2VLImageProcessor(patch_size=patch, temporal_patch_size=2, merge_size=2, **PIXELS)
    norm = {"image_mean": images.image_mean, "image_std": images.image_std}  # vLLM has one for images and videos
    of_videos = hf.Qwen3VLVideoProcessor if kind == "qwen3_vl" else hf.Qwen2VLVideoProcessor
    side = 2 * patch
    limits = {"shortest_edge": 4 * side**2, "longest_edge": (8 * 256 if kind == "qwen3_vl" else 256) * side**2}
    videos = of_videos(patch_size=patch, temporal_patch_size=2, merge_size=2, size=limits, **norm)
    processor = getattr(hf, f"{name}Processor")(images, tokenizer, videos, chat_template=TEMPLATE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = getattr(hf, f"{name}ForConditionalGeneration")(config).float().eval()
    checkpoints.draw(model)
    model.model.visual.patch_embed.proj.weight.data *= 0.3
    whole = torch.tensor([len(token) == 4 and token.startswith("Ġ") for token in checkpoints.ordered(tokenizer)])
    model.lm_head.weight.data[~whole] = 0
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 2, 0
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def prompt(images: int, question: str, videos: int = 0) -> str:
    """What the chat template makes of one user's message."""
    media = "<|vision_start|><|image_pad|><|vision_end|>" * images
    media += "<|vision_start|><|video_pad|><|vision_end|>" * videos
    return f"USER: {media}{question} ASSISTANT:"
