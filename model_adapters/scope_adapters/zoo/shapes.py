"""Models of LLaVA's shapes with random weights: answers are noise, timings are real.

At ``scale`` s every width and depth of LLaVA-1.5 7B (or LLaVA-NeXT 7B on Vicuna) is divided by s, in the tower and in
the language model, so the ratio of depth to width and the tower's share of the work stay. Numbers of tokens are not
scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from scope_adapters.zoo.hub import one_prompt
from scope_core import ZooError
from scope_core.adapters import LoadedModel, read_images
from scope_core.parts import free_memory

PLACEHOLDER, BOS, FIRST_WORD = 32000, 1, 3
SIDE, PATCH, GRID = 336, 14, 24
PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions. USER: "
)


def load(
    source: str,
    *,
    tiled: bool = False,
    scale: int = 2,
    deep: bool = False,
    seed: int = 0,
    dtype: str = "float32",
    device: str = "cpu",
) -> LoadedModel:
    """The model, built on its device.

    Args:
        source: Empty in the zoo entry: nothing is fetched.
        tiled: LLaVA-NeXT instead of LLaVA-1.5: square images are five tiles, 2880 patches.
        scale: Divisor of widths, depths and heads of the 7B model: 1, 2, 4 or 8.
        deep: All 32 layers in the language model, at which recipes that prune inside it find theirs.
        seed: Seed of the weights.
        dtype: dtype of the weights, e.g. ``"bfloat16"``.
        device: Device of the weights, e.g. ``"cuda"``.

    Raises:
        ZooError: there is no such scale, or too little memory for the weights.
    """
    from transformers import LlavaForConditionalGeneration, LlavaNextForConditionalGeneration

    if scale not in (1, 2, 4, 8):
        raise ZooError(f"scale is {scale}; widths and depths of the 7B model can be divided by 1, 2, 4 or 8")
    family: Any = LlavaNextForConditionalGeneration if tiled else LlavaForConditionalGeneration
    config, kind = _config(tiled, scale, deep), getattr(torch, dtype)
    with torch.device("meta"):
        count = sum(weight.numel() for weight in family(config).parameters())
    name = f"{'LLaVA-NeXT' if tiled else 'LLaVA-1.5'} 7B / {scale}{', all layers' if deep else ''}"
    _check_room(
        count * torch.finfo(kind).bits // 8, f"{name} ({count / 1e9:.2f}B parameters in {dtype})", torch.device(device)
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        with torch.random.fork_rng(), torch.device(device):
            torch.manual_seed(seed)
            model = family(config).eval()
    finally:
        torch.set_default_dtype(before)
    model.generation_config.pad_token_id = 0
    model.generation_config.eos_token_id = None

    def inputs(images: Sequence[Any], question: str) -> dict[str, Any]:
        one_prompt(question)
        images = read_images(images)
        per_image = GRID * GRID + (2 * GRID * (2 * GRID + 1) if tiled else 0)
        # about four letters per token, as in common tokenizers
        words = [FIRST_WORD + word_of(text) for text in _pieces(SYSTEM + question + " ASSISTANT:")]
        ids = torch.tensor([[BOS, *([PLACEHOLDER] * (per_image * len(images))), *words]], device=device)
        batch: dict[str, Any] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if images:
            batch["pixel_values"] = torch.stack([_pixels(image, tiled) for image in images]).to(device, kind)
            if not tiled:
                return batch
            batch["image_sizes"] = torch.tensor([[2 * SIDE, 2 * SIDE]] * len(images), device=device)
        return batch

    return LoadedModel(
        model=model,
        inputs=inputs,
        decode=lambda ids: " ".join(map(str, torch.as_tensor(ids).flatten().tolist())),
        name=name,
        notes="weights are random: times, token counts and memory are real, answers and kept patches are noise",
    )


def _config(tiled: bool, scale: int, deep: bool = False) -> Any:
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaNextConfig

    tower = CLIPVisionConfig(
        hidden_size=1024 // scale,
        intermediate_size=4096 // scale,
        num_hidden_layers=24 // scale,
        num_attention_heads=16 // scale,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=768,
    )
    text = LlamaConfig(
        hidden_size=4096 // scale,
        intermediate_size=11008 // scale,
        num_hidden_layers=32 if deep else 32 // scale,
        num_attention_heads=32 // scale,
        num_key_value_heads=32 // scale,
        vocab_size=32064,
        max_position_embeddings=4096,
        pad_token_id=0,
        bos_token_id=BOS,
        eos_token_id=None,
    )
    more: dict[str, Any] = {"image_token_index": PLACEHOLDER, "vision_feature_layer": -2}
    if tiled:
        return LlavaNextConfig(vision_config=tower, text_config=text, image_grid_pinpoints=PINPOINTS, **more)
    return LlavaConfig(vision_config=tower, text_config=text, image_seq_length=GRID * GRID, **more)


def _check_room(needed: int, what: str, device: torch.device) -> None:
    """Refuse weights that do not fit into memory, before they are allocated.

    Raises:
        ZooError: names the needed and the free memory.
    """
    free = free_memory(device)
    if free is not None and needed > free:
        raise ZooError(
            f"{what} needs {needed / 2**30:.1f} GiB for its weights alone, but {free / 2**30:.1f} GiB are free; take "
            f"a model with a larger scale (see `scope models`)"
        )


def _pieces(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def word_of(text: str) -> int:
    """A number below 30000, from the text alone."""
    value = 0
    for byte in text.encode():
        value = (257 * value + byte) % 29989
    return value


def _pixels(image: Image.Image, tiled: bool) -> Tensor:
    """(3, 336, 336), or (5, 3, 336, 336) for the whole image and its quarters; roughly normalised."""

    def tile(box: tuple[int, int, int, int]) -> Tensor:
        small = image.crop(box).resize((SIDE, SIDE))
        raw = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
        return raw.view(SIDE, SIDE, 3).permute(2, 0, 1).float() / 64 - 2

    wide, high = image.size
    whole = tile((0, 0, wide, high))
    if not tiled:
        return whole
    half = (max(wide // 2, 1), max(high // 2, 1))
    corners = [(min(x * half[0], wide - 1), min(y * half[1], high - 1)) for y in (0, 1) for x in (0, 1)]
    return torch.stack([whole, *(tile((x, y, x + half[0], y + half[1])) for x, y in corners)])
