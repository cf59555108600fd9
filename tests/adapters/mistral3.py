"""A tiny Mistral 3 with random weights, and prompts with images of unequal sizes. Nothing is read from disk."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig, PixtralVisionConfig

from adapters.models import VOCABULARY, _draw

PLACEHOLDER, BREAK, END = 150, 151, 152
SIDE = 14
"""Pixels of a token: patches of 7, merged 2 x 2."""


@functools.cache
def mistral3() -> Any:
    vision = PixtralVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, image_size=56, patch_size=7
    )
    text = MistralConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        sliding_window=None,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=None,
    )
    config = Mistral3Config(vision_config=vision, text_config=text, image_token_index=PLACEHOLDER, spatial_merge_size=2)
    model = Mistral3ForConditionalGeneration(config).eval()
    _draw(model, 0)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None
    model.generation_config.suppress_tokens = [PLACEHOLDER]
    return model


@dataclass(frozen=True)
class Prompts:
    """Left-padded prompts; `sizes` are token grids, per prompt."""

    ids: Tensor
    mask: Tensor
    sizes: tuple[tuple[tuple[int, int], ...], ...]
    pixels: tuple[Tensor, ...]

    @property
    def inputs(self) -> dict[str, Tensor]:
        given = {"input_ids": self.ids, "attention_mask": self.mask}
        grids = [size for row in self.sizes for size in row]
        if not grids:
            return given
        tall, wide = max(h for h, _ in grids) * SIDE, max(w for _, w in grids) * SIDE
        pads = [torch.nn.functional.pad(p, (0, wide - p.shape[2], 0, tall - p.shape[1])) for p in self.pixels]
        sizes = torch.tensor([(h * SIDE, w * SIDE) for h, w in grids])
        return {**given, "pixel_values": torch.stack(pads), "image_sizes": sizes}

    def row(self, number: int) -> Prompts:
        first = sum(map(len, self.sizes[:number]))
        real = self.mask[number].bool()
        mine = self.pixels[first : first + len(self.sizes[number])]
        ids = self.ids[number : number + 1, real]
        return Prompts(ids, torch.ones_like(ids), (self.sizes[number],), mine)


def prompts(*rows: Sequence[int | tuple[int, int]]) -> Prompts:
    """From recipes such as ``[3, (2, 4), 5]``: text tokens, an image of 2 x 4 tokens with row breaks, text tokens."""
    generator = torch.Generator().manual_seed(3)
    made, sizes, pixels = [], [], []
    for row in rows:
        ids: list[int] = [1]
        mine = []
        for piece in row:
            if isinstance(piece, int):
                ids += torch.randint(10, 140, (piece,), generator=generator).tolist()
                continue
            ids += [*([*[PLACEHOLDER] * piece[1], BREAK] * piece[0])[:-1], END]
            mine.append(piece)
            pixels.append(torch.randn(3, piece[0] * SIDE, piece[1] * SIDE, generator=generator))
        made.append(ids)
        sizes.append(tuple(mine))
    longest = max(map(len, made))
    full = torch.tensor([[0] * (longest - len(ids)) + ids for ids in made])
    mask = torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in made])
    return Prompts(full, mask, tuple(sizes), tuple(pixels))
