"""Tiny checkpoints of models that take videos, saved to a folder with their processor, as the hub keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers as hf

from adapters import anyres, qwen
from adapters.installed import image_processor
from adapters.test_zoo import tokenizer

TEMPLATE = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'text' %} {{ part['text'] }}{% else %} START<{{ part['type'] }}>END {% endif %}"
    "{% endfor %}{% endfor %} answer"
)
KINDS = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "llava_onevision", "llava_next_video")


def saved(kind: str, folder: Path, *, template: str = TEMPLATE) -> Path:
    """A checkpoint that `load_model` reads; without a chat template if it is empty."""
    model, processor = _qwen(kind) if kind.startswith("qwen") else _llava(kind)
    plain = kind.startswith("llava")
    if template:
        names = (
            {"START<": " <", ">END": "> "}
            if plain
            else {"START<": " <|vision_start|> <|", ">END": "_pad|> <|vision_end|> "}
        )
        for name, token in names.items():
            template = template.replace(name, token)
        processor.chat_template = template
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _qwen(kind: str) -> tuple[Any, Any]:
    name, sizes = qwen.CLASSES[kind], {"patch_size": qwen.PATCH, "temporal_patch_size": 2, "merge_size": 2}
    words = tokenizer("<|video_pad|>", "<|vision_start|>", "<|vision_end|>", image="<|image_pad|>")
    limits = {"size": {"shortest_edge": 28 * 28, "longest_edge": 64 * 28 * 28}}
    images = hf.Qwen2VLImageProcessor(**sizes, **limits)
    of_videos = hf.Qwen3VLVideoProcessor if kind == "qwen3_vl" else hf.Qwen2VLVideoProcessor
    videos = of_videos(**sizes, **limits)
    return qwen.qwen(kind), getattr(hf, f"{name}Processor")(images, words, videos)


def _llava(kind: str) -> tuple[Any, Any]:
    side = {"height": 28, "width": 28}
    grid = {"image_grid_pinpoints": [[28 * rows, 28 * columns] for rows, columns in anyres.CANVASES]}
    words = tokenizer("<video>")
    if kind == "llava_onevision":
        pictures = image_processor(kind, "LlavaOnevisionImageProcessor")(size=side, **grid)
        videos = hf.LlavaOnevisionVideoProcessor(size=side)
        parts: dict[str, Any] = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
        processor = hf.LlavaOnevisionProcessor(pictures, words, videos, vision_aspect_ratio="anyres_max_2", **parts)
        return anyres.onevision_model(), processor
    crop = {"size": {"shortest_edge": 28}, "crop_size": side}
    pictures = image_processor("llava_next", "LlavaNextImageProcessor")(**crop, **grid)
    videos = hf.LlavaNextVideoVideoProcessor(**crop)
    parts = {"patch_size": 7, "num_additional_image_tokens": 1, "vision_feature_select_strategy": "default"}
    processor = hf.LlavaNextVideoProcessor(videos, pictures, words, **parts)
    return anyres.next_model(kind="LlavaNextVideo"), processor
