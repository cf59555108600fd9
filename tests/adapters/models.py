"""Tiny LLaVA models with random weights, and batches of prompts for them. Nothing is read from disk.

Weights are drawn larger than a library would, so that logits depend on the image and on which of its tokens
are kept; tests assert that they do.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionConfig,
    Dinov2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MistralConfig,
    Qwen2Config,
    SiglipVisionConfig,
)

from adapters.installed import with_attention

PLACEHOLDER = 150
VOCABULARY = 200
PATCHES = 16
"""28 x 28 pixels in patches of 7: a grid of 4 x 4."""
LAYERS = 4

_TOWERS = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig, "dinov2": Dinov2Config}
_DECODERS = {"llama": LlamaConfig, "mistral": MistralConfig, "qwen2": Qwen2Config}


def llava(
    tower: str = "clip",
    *,
    decoder: str = "llama",
    attention: str = "sdpa",
    layer: int | list[int] = -2,
    strategy: str = "",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> LlavaForConditionalGeneration:
    """A LLaVA model in eval mode. ``strategy`` is "full" for towers without CLS and "default" otherwise."""
    sizes = {"intermediate_size": 64} if tower != "dinov2" else {"mlp_ratio": 2}
    vision = _TOWERS[tower](
        hidden_size=32, num_hidden_layers=LAYERS, num_attention_heads=4, image_size=28, patch_size=7, **sizes
    )
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None}
    text = _DECODERS[decoder](
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        **special,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=PLACEHOLDER,
        vision_feature_layer=layer,
        vision_feature_select_strategy=strategy or ("full" if tower == "siglip" else "default"),
        image_seq_length=PATCHES,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration._from_config(config, attn_implementation=attention)
    _draw(model, seed)
    settle(model)
    return model.to(dtype).eval()


def settle(model: LlavaForConditionalGeneration) -> None:
    """Generate to the end, and no placeholders: untrained models would, and break even without a pruner."""
    for name, value in {"eos_token_id": None, "pad_token_id": 0, "suppress_tokens": [PLACEHOLDER]}.items():
        setattr(model.generation_config, name, value)


def eager(model: LlavaForConditionalGeneration) -> LlavaForConditionalGeneration:
    """The same weights, with attention that can be returned."""
    return with_attention(model, "eager")


def _draw(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        if weight.dim() >= 2:
            fan_in = weight[0].numel() if "embed" not in name else 1
            weight.data.normal_(0, 1.5 * fan_in**-0.5, generator=generator)
        elif "bias" in name:
            weight.data.normal_(0, 0.1, generator=generator)


@dataclass(frozen=True)
class Batch:
    """Prompts with images, padded.

    Attributes:
        ids: (B, L) token ids.
        mask: (B, L) attention mask.
        pixels: (images, 3, H, W); None without images.
        images: Images in each row.
    """

    ids: Tensor
    mask: Tensor
    pixels: Tensor | None
    images: tuple[int, ...]

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of ``generate`` and ``forward``."""
        given = {"input_ids": self.ids, "attention_mask": self.mask}
        return given if self.pixels is None else {**given, "pixel_values": self.pixels}

    @property
    def length(self) -> int:
        """L."""
        return self.ids.shape[1]

    def row(self, number: int) -> Batch:
        """One prompt alone, without padding."""
        real = self.mask[number].bool()
        count = self.images[number]
        pixels = self.pixels[self.owned(number)] if self.pixels is not None and count else None
        return Batch(self.ids[number : number + 1, real], self.mask[number : number + 1, real], pixels, (count,))

    def owned(self, number: int) -> slice:
        """The images of a row."""
        first = sum(self.images[:number])
        return slice(first, first + self.images[number])


def batch(
    *rows: Sequence[int | str],
    side: str = "left",
    tokens: int = PATCHES,
    seed: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Batch:
    """Prompts from recipes: ``[3, "image", 4]`` is three text tokens, one image, four text tokens.

    Args:
        rows: One recipe per prompt.
        side: Where shorter prompts are padded.
        tokens: Placeholders per image.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for row in rows:
        ids: list[int] = [1]
        for piece in row:
            if piece == "image":
                ids += [PLACEHOLDER] * tokens
            else:
                ids += torch.randint(10, 140, (int(piece),), generator=generator).tolist()
        made.append(ids)
    longest = max(map(len, made))
    pads = [[0] * (longest - len(ids)) for ids in made]
    left = side == "left"
    full = [pad + ids if left else ids + pad for ids, pad in zip(made, pads, strict=True)]
    mask = [pad + [1] * len(ids) if left else [1] * len(ids) + pad for ids, pad in zip(made, pads, strict=True)]
    counts = tuple(list(row).count("image") for row in rows)
    pixels = torch.randn(sum(counts), 3, 28, 28, generator=generator).to(dtype) if sum(counts) else None
    return Batch(torch.tensor(full), torch.tensor(mask), pixels, counts)


MODELS: dict[str, dict[str, Any]] = {
    "clip": {},
    "clip-eager": {"attention": "eager"},
    "clip-last-layer": {"layer": -1},
    "clip-positive-layer": {"layer": 2},
    "clip-two-layers": {"layer": [-2, -3]},
    "clip-full": {"strategy": "full"},
    "siglip": {"tower": "siglip"},
    "dinov2": {"tower": "dinov2"},
    "mistral": {"decoder": "mistral"},
    "qwen2": {"decoder": "qwen2"},
}
"""Arguments of `llava` for every kind of model that tests cover."""


@functools.cache
def shared(name: str) -> LlavaForConditionalGeneration:
    """One of `MODELS`, built once; whoever changes it puts it back."""
    return llava(**MODELS[name])


def tokens_of(name: str) -> int:
    """Candidates per image of one of `MODELS`: CLS is one where the whole sequence is kept."""
    return PATCHES + (name == "clip-full")


ONE = ([3, "image", 4],)
TWO = ([3, "image", 4], [2, "image", 3, "image", 5])
MIXED = ([3, "image", 4], [6], [2, "image", 1, "image", 5])
"""Recipes: a single prompt, a ragged batch, and one with a prompt that has no image."""
