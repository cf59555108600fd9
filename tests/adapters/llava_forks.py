"""Small stand-ins for forks of the original LLaVA codebase: their names, signatures and habits.

Run by hand with the same results: the repositories themselves, see docs/embed.md.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import transformers as hf
from torch import Tensor, nn

from adapters.models import _draw
from adapters.original_llava import (
    CACHE,
    IMAGE_TOKEN_INDEX,
    PREPARE,
    LlavaForCausalLM,
    Splicing,
    Tower,
    shared,
)


class BunnyLike(LlavaForCausalLM):
    """No ``image_sizes``; writes into the ids; ``generate`` is transformers', and every step sees the images."""

    def prepare_inputs_labels_for_multimodal(
        self, input_ids, position_ids, attention_mask, past_key_values, labels, images
    ):
        if images is not None and input_ids.shape[1] == 1 and past_key_values is not None:
            if attention_mask is None:
                return input_ids, None, None, past_key_values, None, labels
            missing = past_key_values.get_seq_length() + 1 - attention_mask.shape[1]
            attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(attention_mask), missing)], 1)
            return input_ids, attention_mask.sum(1, keepdim=True) - 1, attention_mask, past_key_values, None, labels
        result = getattr(super(), PREPARE)(
            input_ids.clone(), position_ids, attention_mask, past_key_values, labels, images
        )
        input_ids[input_ids == IMAGE_TOKEN_INDEX] = 0
        return result

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, images=None, cache=None, **_,
    ):  # fmt: skip
        past_key_values = cache if past_key_values is None else past_key_values
        if inputs_embeds is None:
            input_ids, position_ids, attention_mask, past_key_values, inputs_embeds, labels = (
                self.prepare_inputs_labels_for_multimodal(
                    input_ids, position_ids, attention_mask, past_key_values, labels, images
                )
            )
        return hf.LlamaForCausalLM.forward(
            self, input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, labels=labels,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **{CACHE: past_key_values},
        )  # fmt: skip

    def generate(self, inputs=None, **kwargs):
        return hf.LlamaForCausalLM.generate(self, inputs, **kwargs)


class NextLike(LlavaForCausalLM):
    """``modalities`` among the arguments; images of many tiles are shrunk by interpolation, or by ``pool``."""

    def prepare_inputs_labels_for_multimodal(
        self, input_ids, position_ids, attention_mask, past_key_values, labels, images, modalities=("image",),
        image_sizes=None,
    ):  # fmt: skip
        return getattr(super(), PREPARE)(
            input_ids, position_ids, attention_mask, past_key_values, labels, images, image_sizes
        )

    def merged(self, tiles: Tensor, size: Any) -> Tensor:
        if len(tiles) < 4:
            return super().merged(tiles, size)
        side = self.get_vision_tower().num_patches_per_side
        picture = tiles[1:].flatten(0, 1).T.reshape(tiles.shape[2], -1, side)[None]
        shrunk = (
            nn.functional.max_pool2d(picture, 2)
            if "pool" in self.config.mm_patch_merge_type
            else nn.functional.interpolate(picture, [5, 3], mode="bilinear")
        )
        ends = self.model.image_newline[:, None, None].expand(*shrunk.shape[1:3], 1)
        return torch.cat([tiles[0], torch.cat([shrunk[0], ends], 2).flatten(1, 2).T])

    def forward(self, input_ids=None, *, modalities=("image",), **kwargs):
        kwargs.setdefault("image_sizes", None)
        if kwargs.get("inputs_embeds") is None:
            names = ("position_ids", "attention_mask", "past_key_values", "labels", "images")
            input_ids, *made = self.prepare_inputs_labels_for_multimodal(
                input_ids, *(kwargs.get(name) for name in names), modalities, kwargs["image_sizes"]
            )
            kwargs |= dict(zip((*names[:3], "inputs_embeds", "labels"), made, strict=True), images=None)
        return super().forward(input_ids, **kwargs)

    def generate(self, inputs=None, images=None, image_sizes=None, modalities=("image",), **kwargs):
        _, positions, mask, _, embeds, _ = self.prepare_inputs_labels_for_multimodal(
            inputs, None, kwargs.pop("attention_mask"), None, None, images, modalities, image_sizes=image_sizes
        )
        return hf.LlamaForCausalLM.generate(
            self, position_ids=positions, attention_mask=mask, inputs_embeds=embeds, **kwargs
        )


class TinyTower(nn.Module):
    """TinyLLaVA's wrapper: layer and feature come with the call."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self._vision_tower = tower

    def forward(self, pictures: Tensor, layer: int, strategy: str) -> Tensor:
        state = self._vision_tower(pictures, output_hidden_states=True).hidden_states[layer]
        return state[:, 1:] if strategy == "patch" else state


class TinyLike(hf.PreTrainedModel, Splicing):
    """Tower, connector and language model as attributes, and ``generate`` of the language model."""

    config_class = hf.LlamaConfig
    _supports_sdpa = True

    def __init__(self, config: Any, tower: nn.Module) -> None:
        super().__init__(config)
        self.language_model = hf.LlamaForCausalLM(config)
        self.vision_tower = TinyTower(tower)
        self.connector = nn.Linear(tower.config.hidden_size, config.hidden_size)

    def get_input_embeddings(self) -> Any:
        return self.language_model.get_input_embeddings()

    def load_vision_tower(self, **_: Any) -> None: ...

    def load_connector(self, **_: Any) -> None: ...

    def encode_images(self, images: Tensor) -> Tensor:
        config = self.config
        rows = self.vision_tower(images, config.vision_feature_layer, config.vision_feature_select_strategy)
        return self.connector(rows)

    def features(self, images: Any, sizes: Any) -> Any:
        return self.encode_images(images)

    def forward(self, input_ids=None, attention_mask=None, labels=None, images=None, image_sizes=None, **kwargs):
        ids, positions, mask, cache, embeds, labels = self.prepare_inputs_labels_for_multimodal(
            input_ids, None, attention_mask, None, labels, images, image_sizes
        )
        return self.language_model(
            input_ids=ids, position_ids=positions, attention_mask=mask, inputs_embeds=embeds, labels=labels,
            **{CACHE: cache}, **kwargs,
        )  # fmt: skip

    @torch.no_grad()
    def generate(self, inputs=None, images=None, image_sizes=None, **kwargs):
        _, positions, mask, _, embeds, _ = self.prepare_inputs_labels_for_multimodal(
            inputs, None, kwargs.pop("attention_mask"), None, None, images, image_sizes
        )
        return self.language_model.generate(position_ids=positions, attention_mask=mask, inputs_embeds=embeds, **kwargs)


def bunny() -> Any:
    """LLaVA-1.5's parts in Bunny's shape."""
    model = copy.deepcopy(shared("1.5"))
    model.__class__ = BunnyLike
    return model


def next_like(merge: str = "spatial_unpad", ratio: str = "anyres_max_2") -> Any:
    """LLaVA-1.6's parts in the shape of LLaVA-NeXT's repository."""
    model = copy.deepcopy(shared("1.6"))
    model.__class__ = NextLike
    model.config.mm_patch_merge_type, model.config.image_aspect_ratio = merge, ratio
    return model


def tiny(connector: nn.Module | None = None) -> Any:
    """TinyLLaVA's shape."""
    source = shared("1.5")
    config = copy.deepcopy(source.config)
    wrapper: Tower = source.get_vision_tower()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TinyLike(config, copy.deepcopy(wrapper.vision_tower))
    model.config = copy.deepcopy(config)
    model.config.vision_feature_layer, model.config.vision_feature_select_strategy = -2, "patch"
    _draw(model.language_model, 1)
    _draw(model.connector, 2)
    model.connector = connector or model.connector
    model.language_model.generation_config.eos_token_id = None
    model.language_model.generation_config.pad_token_id = 0
    return model.eval()
