"""Tiny models that cut images of any size into tiles, LLaVA-NeXT and LLaVA-OneVision, with prompts for them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from adapters.installed import features_of
from adapters.models import PLACEHOLDER, VOCABULARY, _draw

SIDE, GRID = 28, 4
PATCHES = GRID * GRID
CANVASES = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (1, 5))
"""Rows and columns of tiles beside the overview: images have 2 to 6 tiles."""
VIDEO = 151

_DECODERS = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}


def _text(decoder: str) -> Any:
    return _DECODERS[decoder](
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        max_position_embeddings=8192,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )


def _vision(kind: Any, side: int, patch: int, **options: Any) -> Any:
    return kind(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        image_size=side,
        patch_size=patch,
        **options,
    )


shared_prompts = pytest.mark.skipif(
    "batch_num_images" not in inspect.signature(LlavaOnevisionForConditionalGeneration.forward).parameters,
    reason="LLaVA-OneVision of this transformers takes no batch_num_images",
)
"""For images that share a prompt, and are one tile each."""


def _ready(cls: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = cls._from_config(config, attn_implementation="sdpa")
    _draw(model, seed)
    model.model.image_newline.data.normal_(generator=torch.Generator().manual_seed(seed))
    for name, value in {"eos_token_id": None, "pad_token_id": 0, "suppress_tokens": [PLACEHOLDER, VIDEO]}.items():
        setattr(model.generation_config, name, value)
    return model.eval()


@functools.cache
def next_model(
    decoder: str = "llama",
    *,
    side: int = SIDE,
    patch: int = 7,
    canvases: tuple[tuple[int, int], ...] = CANVASES,
    seed: int = 0,
    kind: str = "LlavaNext",
) -> Any:
    """LLaVA-NeXT: Vicuna-like with "llama", or with "mistral"; or LLaVA-NeXT-Video."""
    config = getattr(hf, f"{kind}Config")(
        vision_config=_vision(CLIPVisionConfig, side, patch),
        text_config=_text(decoder),
        image_token_id=PLACEHOLDER,
        **({"video_token_id": VIDEO} if kind == "LlavaNextVideo" else {}),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_grid_pinpoints=[[side * rows, side * cols] for rows, cols in canvases],
    )
    return _ready(getattr(hf, f"{kind}ForConditionalGeneration"), config, seed)


@functools.cache
def onevision_model(*, limit: int = 2, seed: int = 0) -> LlavaOnevisionForConditionalGeneration:
    """LLaVA-OneVision; images of more than ``limit`` tiles are interpolated."""
    config = LlavaOnevisionConfig(
        vision_config=_vision(SiglipVisionConfig, SIDE, 7, vision_use_head=False),
        text_config=_text("qwen2"),
        image_token_id=PLACEHOLDER,
        video_token_id=VIDEO,
        image_grid_pinpoints=[[SIDE * rows, SIDE * cols] for rows, cols in CANVASES],
        vision_aspect_ratio=f"anyres_max_{limit}",
    )
    return _ready(LlavaOnevisionForConditionalGeneration, config, seed)


@dataclass(frozen=True)
class Prompts:
    """Prompts with images of any sizes.

    Attributes:
        ids: (B, L).
        mask: (B, L).
        pixels: (T_i, 3, H, W) per image.
        sizes: (height, width) per image.
        images: Images in each prompt.
        placeholders: Of each image.
        grouped: Hand out `batch_num_images`, so that images which share a prompt are one tile each.
    """

    ids: Tensor
    mask: Tensor
    pixels: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]
    images: tuple[int, ...]
    placeholders: tuple[int, ...]
    grouped: bool = False

    @property
    def inputs(self) -> dict[str, Any]:
        """Keyword arguments as the processor makes them: tiles padded to the most of any image."""
        given: dict[str, Any] = {"input_ids": self.ids, "attention_mask": self.mask}
        if not self.pixels:
            return given
        most = max(map(len, self.pixels))
        padded = [torch.nn.functional.pad(tiles, (0, 0, 0, 0, 0, 0, 0, most - len(tiles))) for tiles in self.pixels]
        given |= {"pixel_values": torch.stack(padded), "image_sizes": torch.tensor(self.sizes)}
        return given | ({"batch_num_images": torch.tensor([n for n in self.images if n])} if self.grouped else {})

    @property
    def flat(self) -> dict[str, Any]:
        """Keyword arguments with 4-D ``pixel_values``: the tiles of all images one after another."""
        return {**self.inputs, "pixel_values": torch.cat(self.pixels)}

    @property
    def length(self) -> int:
        return self.ids.shape[1]

    def row(self, number: int) -> Prompts:
        """One prompt alone, without padding."""
        real, mine = self.mask[number].bool(), self.owned(number)
        return Prompts(
            self.ids[number : number + 1, real],
            self.mask[number : number + 1, real],
            self.pixels[mine],
            self.sizes[mine],
            (self.images[number],),
            self.placeholders[mine],
            self.grouped,
        )

    def rows(self, numbers: Sequence[int]) -> dict[str, Any]:
        """As the conformance kit asks: all prompts, or one."""
        return self.inputs if len(numbers) == len(self.images) else self.row(numbers[0]).inputs

    def owned(self, number: int) -> slice:
        first = sum(self.images[:number])
        return slice(first, first + self.images[number])


def prompts(
    model: Any, *rows: Sequence[int | tuple[int, int]], side: str = "left", seed: int = 1, grouped: bool = False
) -> Prompts:
    """Prompts from recipes: ``[3, (40, 50), 4]`` is three text tokens, an image of 40 x 50 pixels, four text tokens."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [tuple(piece) for row in rows for piece in row if not isinstance(piece, int)]
    counts = [sum(not isinstance(piece, int) for piece in row) for row in rows]
    shared = [grouped and count > 1 for count in counts for _ in range(count)]
    square = [model.config.vision_config.image_size] * 2
    pixels = [
        torch.randn(1 if one else tiles_of(model, size), 3, *square, generator=generator)
        for size, one in zip(sizes, shared, strict=True)
    ]
    bare = Prompts(torch.empty(0), torch.empty(0), tuple(pixels), tuple(sizes), tuple(counts), (), grouped)
    needed = iter(placeholders_of(model, bare) if sizes else [])
    made, held = [], []
    for row in rows:
        ids: list[int] = [1]
        for piece in row:
            if isinstance(piece, int):
                ids += torch.randint(10, 140, (piece,), generator=generator).tolist()
            else:
                held.append(next(needed))
                ids += [PLACEHOLDER] * held[-1]
        made.append(ids)
    longest = max(map(len, made))
    full, mask = [], []
    for ids in made:
        pad, real = [0] * (longest - len(ids)), [1] * len(ids)
        full.append(pad + ids if side == "left" else ids + pad)
        mask.append(pad + real if side == "left" else real + pad)
    return Prompts(
        torch.tensor(full), torch.tensor(mask), tuple(pixels), tuple(sizes), tuple(counts), tuple(held), grouped
    )


def tiles_of(model: Any, size: tuple[int, int]) -> int:
    """Tiles of an image alone in its prompt, the overview included."""
    rows, cols = canvas_of(model, size)
    return 1 + rows * cols


def canvas_of(model: Any, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles."""
    from transformers.image_processing_utils import select_best_resolution

    height, width = select_best_resolution(size, model.config.image_grid_pinpoints)
    side = model.config.vision_config.image_size
    return height // side, width // side


def placeholders_of(model: Any, given: Prompts) -> list[int]:
    """What the model itself puts in the place of each image."""
    images = {name: value for name, value in given.inputs.items() if name not in ("input_ids", "attention_mask")}
    with torch.no_grad():
        return [len(rows) for rows in features_of(model, **images)]
