"""A LLaVA with a trained tower and an untrained decoder, to try pruning without a model hub.

Kept patches, numbers of tokens and timings are real; answers are noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from scope_adapters.zoo.hub import one_prompt
from scope_adapters.zoo.towers import dinov2_small
from scope_core.adapters import LoadedModel, read_images

PAD, BOS, PLACEHOLDER, OFFSET = 0, 1, 2, 3
"""Special token ids; byte b has id b + OFFSET."""
VOCABULARY = OFFSET + 256


def load(
    source: str, *, seed: int = 0, layers: int = 4, width: int = 256, cache_dir: Path | None = None
) -> LoadedModel:
    """The model; only the tower's weights are fetched (once).

    Args:
        source: Source of the tower; from the zoo entry.
        seed: Seed of the untrained weights.
        layers: Number of layers of the decoder.
        width: Width of the decoder.
        cache_dir: Folder of the tower's weights.
    """
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    tower = dinov2_small(source, cache_dir=cache_dir)
    side = tower.size // tower.module.config.patch_size
    text = LlamaConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=VOCABULARY,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=None,
        max_position_embeddings=4096,
    )
    config = LlavaConfig(
        vision_config=tower.module.config,
        text_config=text,
        image_token_index=PLACEHOLDER,
        image_seq_length=side * side,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration(config)
    model.model.vision_tower.load_state_dict(tower.module.state_dict())
    model.generation_config.pad_token_id = PAD
    model.generation_config.eos_token_id = None
    model.generation_config.suppress_tokens = [PAD, BOS, PLACEHOLDER]

    def inputs(images: Sequence[Any], question: str) -> dict[str, Any]:
        one_prompt(question)
        images = read_images(images)
        ids = [BOS, *([PLACEHOLDER] * side * side * len(images)), *(byte + OFFSET for byte in question.encode())]
        batch: dict[str, Any] = {
            "input_ids": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(ids), dtype=torch.int64),
        }
        return {**batch, "pixel_values": tower.pixels(images)} if images else batch

    def decode(ids: Any) -> str:
        return bytes(i - OFFSET for i in torch.as_tensor(ids).flatten().tolist() if i >= OFFSET).decode(
            errors="replace"
        )

    return LoadedModel(
        model=model.eval(),
        inputs=inputs,
        decode=decode,
        name="llava-dinov2-random",
        notes="the decoder is untrained: token counts, timings and kept patches are real, answers are noise",
        view=tower.view,
    )
