"""Real models of the original LLaVA codebase, tiny, with random weights, and prompts for them.

Classes, tower wrapper, projector and splicing are those of the installed `llava` package; nothing of it is mimicked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from llava.constants import IGNORE_INDEX, IMAGE_TOKEN_INDEX
from llava.mm_utils import get_anyres_image_grid_shape
from llava.model import LlavaConfig, LlavaLlamaForCausalLM, LlavaMistralConfig, LlavaMistralForCausalLM
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

SIDE, PATCH, VOCABULARY = 28, 7, 160
GRID = SIDE // PATCH
PINPOINTS = [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]
"""(width, height)."""
ANYRES = {"image_aspect_ratio": "anyres", "image_grid_pinpoints": PINPOINTS}
KINDS: dict[str, dict[str, Any]] = {
    "1.5": {"image_aspect_ratio": "pad"},
    "1.5 cls_patch": {"image_aspect_ratio": "pad", "mm_vision_select_feature": "cls_patch"},
    "1.6 spatial_unpad": {**ANYRES, "mm_patch_merge_type": "spatial_unpad"},
    "1.6 spatial": {**ANYRES, "mm_patch_merge_type": "spatial"},
    "1.6 flat": {**ANYRES, "mm_patch_merge_type": "flat"},
}
FAMILIES = {
    "llama": (LlavaConfig, LlavaLlamaForCausalLM),
    "mistral": (LlavaMistralConfig, LlavaMistralForCausalLM),
}


def save_tower(folder: Path) -> str:
    """A tiny CLIP tower with its image processor, as a folder that `load_model` reads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=4,
                num_attention_heads=4,
                image_size=SIDE,
                patch_size=PATCH,
            )
        )
    draw(tower, 1)
    tower.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size).save_pretrained(folder)
    return str(folder)


def build(tower: str, kind: str, family: str = "llama", *, load: bool = True, **changes: Any) -> Any:
    """One of `KINDS` of one of `FAMILIES`, its tower loaded by the codebase's own `load_model`."""
    config_class, model_class = FAMILIES[family]
    options: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "mm_vision_tower": tower,
        "mm_hidden_size": 32,
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "mm_patch_merge_type": "flat",
        "tokenizer_padding_side": "left",
        "tokenizer_model_max_length": 2048,
        **KINDS[kind],
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config_class(**options))
    draw(model, 0)
    if load:
        model.get_vision_tower().load_model()
    settle(model)
    return model.float().eval()


def settle(model: Any) -> None:
    """Generate to the end, as untrained models would not always."""
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = None, 0


def draw(model: nn.Module, seed: int) -> None:
    """Weights large enough that the answer depends on the image."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() >= 2:
            fan_in = weight[0].numel() if "embed" not in name else 1
            weight.data.normal_(0, 1.5 * fan_in**-0.5, generator=generator)
        elif "bias" in name:
            weight.data.normal_(0, 0.1, generator=generator)
        elif "newline" in name:
            weight.data.normal_(0, 1, generator=generator)


@dataclass(frozen=True)
class Prompts:
    """Prompts with one placeholder per image, padded.

    Attributes:
        ids: (B, L).
        mask: (B, L).
        images: (n, 3, H, W), or a list of (t, 3, H, W).
        sizes: (width, height) of each image.
        owners: Row of each image, those without a placeholder included.
    """

    ids: Tensor
    mask: Tensor
    images: Any
    sizes: list[tuple[int, int]]
    owners: list[int]

    @property
    def inputs(self) -> dict[str, Any]:
        """What goes with the ids."""
        return {"attention_mask": self.mask, "images": self.images, "image_sizes": self.sizes}

    @property
    def labels(self) -> Tensor:
        """Of the words."""
        return self.ids.masked_fill((self.ids == IMAGE_TOKEN_INDEX) | ~self.mask.bool(), IGNORE_INDEX)

    def with_images(self, images: Any) -> Prompts:
        """The same prompts about other pictures."""
        return replace(self, images=images)


def prompts(model: Any, *rows: Sequence[Any], side: str = "left") -> Prompts:
    """Rows of numbers (that many words) and (width, height) sizes (an image); a row without images takes one too."""
    generator = torch.Generator().manual_seed(7)
    written, sizes, owners = [], [], []
    for number, row in enumerate(rows):
        ids = [1]
        for piece in row:
            image = isinstance(piece, tuple)
            ids += [IMAGE_TOKEN_INDEX] if image else torch.randint(10, 140, (piece,), generator=generator).tolist()
        own = [piece for piece in row if isinstance(piece, tuple)] or [(28, 28)]
        sizes += own
        owners += [number] * len(own)
        written.append(ids)
    longest = max(map(len, written))
    left = side == "left"
    pads = [[0] * (longest - len(ids)) for ids in written]
    full = [pad + ids if left else ids + pad for pad, ids in zip(pads, written, strict=True)]
    mask = [pad + [1] * len(ids) if left else [1] * len(ids) + pad for pad, ids in zip(pads, written, strict=True)]
    tiled = getattr(model.config, "image_aspect_ratio", "") == "anyres"
    counts = [tiles_of(size) if tiled else 1 for size in sizes]
    pictures = [torch.randn(count, 3, SIDE, SIDE, generator=generator) for count in counts]
    images = pictures if tiled else torch.cat(pictures)
    return Prompts(torch.tensor(full), torch.tensor(mask), images, sizes, owners)


def tiles_of(size: tuple[int, int]) -> int:
    """The overview, and the tiles that the codebase cuts an image of (width, height) into."""
    across, down = get_anyres_image_grid_shape(size, PINPOINTS, SIDE)
    return 1 + across * down
