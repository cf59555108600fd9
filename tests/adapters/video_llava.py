"""A tiny Video-LLaVA with random weights, and prompts with images and videos for it. Nothing is read from disk."""

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

from adapters.models import PLACEHOLDER, VOCABULARY, _draw

VIDEO, SIDE, PATCHES = 151, 28, 16
OF_FRAME = PATCHES + 1
"""Placeholders of a frame: one for each patch, after one for CLS."""

named = pytest.mark.skipif(
    "pixel_values" not in inspect.signature(hf.VideoLlavaForConditionalGeneration.forward).parameters,
    reason="Video-LLaVA of this transformers calls its images pixel_values_images only",
)


@functools.cache
def video_llava(seed: int = 0) -> Any:
    """A model in eval mode; its two towers have other weights each."""
    sizes = {"intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = hf.VideoLlavaConfig(
        vision_config=hf.CLIPVisionConfig(hidden_size=32, image_size=SIDE, patch_size=7, **sizes),
        text_config=hf.LlamaConfig(
            hidden_size=64,
            num_key_value_heads=2,
            vocab_size=VOCABULARY,
            max_position_embeddings=512,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=None,
            **{**sizes, "intermediate_size": 128},
        ),
        image_token_index=PLACEHOLDER,
        video_token_index=VIDEO,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = hf.VideoLlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    _draw(model, seed)
    for name, value in {"eos_token_id": None, "pad_token_id": 0, "suppress_tokens": [PLACEHOLDER, VIDEO]}.items():
        setattr(model.generation_config, name, value)
    return model.eval()


@dataclass(frozen=True)
class Prompts:
    """Prompts with images and videos, padded on the left.

    Attributes:
        ids: (B, L).
        mask: (B, L).
        pixels: (I, 3, H, W).
        frames: (V, F, 3, H, W).
        images: Images in each prompt.
        videos: Videos in each prompt.
    """

    ids: Tensor
    mask: Tensor
    pixels: Tensor
    frames: Tensor
    images: tuple[int, ...]
    videos: tuple[int, ...]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments as the processor makes them."""
        given = {"input_ids": self.ids, "attention_mask": self.mask}
        given |= {"pixel_values_images": self.pixels} if len(self.pixels) else {}
        return given | ({"pixel_values_videos": self.frames} if len(self.frames) else {})

    def row(self, number: int) -> Prompts:
        """One prompt alone, without padding."""
        real, take = self.mask[number].bool(), slice(number, number + 1)
        pixels, frames = (
            each[sum(counts[:number]) : sum(counts[: number + 1])]
            for each, counts in ((self.pixels, self.images), (self.frames, self.videos))
        )
        return Prompts(
            self.ids[take, real], self.mask[take, real], pixels, frames, self.images[take], self.videos[take]
        )


def prompts(*rows: Sequence[int | str], frames: int = 2, seed: int = 1) -> Prompts:
    """From recipes: ``[3, "video", 4, "image"]`` is three text tokens, a video, four text tokens, an image."""
    generator = torch.Generator().manual_seed(seed)
    held = {"image": [PLACEHOLDER] * PATCHES, "video": [VIDEO] * (OF_FRAME * frames)}
    made = []
    for row in rows:
        ids = [1]
        for piece in row:
            words = torch.randint(10, 140, (piece if isinstance(piece, int) else 0,), generator=generator)
            ids += held[piece] if isinstance(piece, str) else words.tolist()
        made.append(ids)
    longest = max(map(len, made))
    images, videos = (tuple(list(row).count(kind) for row in rows) for kind in ("image", "video"))
    return Prompts(
        torch.tensor([[0] * (longest - len(ids)) + ids for ids in made]),
        torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in made]),
        torch.randn(sum(images), 3, SIDE, SIDE, generator=generator),
        torch.randn(sum(videos), frames, 3, SIDE, SIDE, generator=generator),
        images,
        videos,
    )
