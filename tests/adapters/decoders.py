"""Deeper tiny models, schedules of stages, and what a model that is pruned inside has to compute, done otherwise.

Two references, neither of which knows the hooks: `hidden_columns` runs the whole sequence at full length, without a
cache, under 4-D masks that hide what was dropped from later layers; `layer_by_layer` calls the model's layers one
after another on one prompt and drops, renumbers and merges between them by hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from transformers import LlavaForConditionalGeneration, Qwen3Config

from adapters import models
from adapters.installed import features_of
from adapters.models import PLACEHOLDER, Batch

LAYERS = 5
GREEDY = {"max_new_tokens": 6, "do_sample": False}
MODES: dict[str, dict[str, Any]] = {
    "greedy": GREEDY,
    "beams": {**GREEDY, "num_beams": 3},
    "no cache": {**GREEDY, "use_cache": False},
    "beams, no cache": {**GREEDY, "num_beams": 3, "use_cache": False},
    "several": {**GREEDY, "num_beams": 4, "num_return_sequences": 2},
}
DECODERS = ("llama", "mistral", "qwen2", "qwen3")


@functools.cache
def deep(decoder: str = "llama", attention: str = "sdpa", *, layers: int = LAYERS, seed: int = 0) -> Any:
    """A LLaVA-1.5 with so many decoder layers, none of which attends in a window."""
    kind = {**models._DECODERS, "qwen3": Qwen3Config}[decoder]
    more: dict[str, Any] = {"mistral": {"sliding_window": None}, "qwen3": {"head_dim": 16}}.get(decoder, {})

    def config(**options: Any) -> Any:
        return kind(**{**options, "num_hidden_layers": layers, **more})

    with mock.patch.dict(models._DECODERS, {decoder: config}):
        return models.llava(decoder=decoder, attention=attention, seed=seed)


def top(layer: int, **options: Any) -> dict[str, Any]:
    """Parts that keep the tokens the prompt's last token attends to most in a layer."""
    return {
        "saliency": {"name": "prompt_attention", "layer": layer, **options},
        "coverage": "modular",
        "combiner": "saliency_only",
        "optimizer": "top_k",
    }


ONE_STAGE = {**top(1), "budget": 7, "at": "decoder[2]", "positions": "original"}
TWO_STAGES = {**ONE_STAGE, "then": [{"at": "decoder[4]", "budget": 3, "saliency": {"layer": 4}}]}
ENCODER_FIRST = {
    "recipe": "scope",
    "budget": 9,
    "then": [
        {"recipe": None, **top(1), "budget": 6, "at": "decoder[2]", "positions": "original"},
        {**top(3), "at": "decoder[4]", "budget": 3},
    ],
}
COMPACT = {**TWO_STAGES, "positions": "compact"}
CLUSTERS = {"name": "density_clusters", "share": 0.5, "per_cluster": 2}
MERGING = {
    "recipe": "sparsevlm",
    "saliency": {"layer": 1},
    "merger": {**CLUSTERS, "saliency": {"name": "rater_attention", "layer": 1}},
    "budget": {"name": "staged", "keep": [10, 6]},
    "at": "decoder[2]",
    "then": [
        {
            "at": "decoder[4]",
            "saliency": {"layer": 3},
            "merger": {**CLUSTERS, "saliency": {"name": "rater_attention", "layer": 3}},
        }
    ],
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "one stage": ONE_STAGE,
    "two stages": TWO_STAGES,
    "encoder first": ENCODER_FIRST,
    "compact": COMPACT,
    "merging": MERGING,
}


def places(batch: Batch, row: int, image: int) -> Tensor:
    """Positions of an image of a prompt without padding."""
    return (batch.ids[row] == PLACEHOLDER).nonzero()[:, 0].view(-1, models.PATCHES)[image]


def kept_places(batch: Batch, receipt: Any) -> dict[int, Tensor]:
    """What is left of the one prompt of ``batch`` behind each decoder layer that has a stage, by position.

    Only for selections that merge nothing: later stages count what the one before them left.
    """
    count = sum(batch.images)
    text = (batch.ids[0] != PLACEHOLDER).nonzero()[:, 0]
    left = [places(batch, 0, image) for image in range(count)]
    made: dict[int, Tensor] = {}
    for stage in (receipt, *receipt.later):
        kept = stage.selection.kept
        left = [mine[kept[image][kept[image] >= 0]] for image, mine in enumerate(left)]
        layer = int(stage.at.removeprefix("decoder[").removesuffix("]")) if "decoder" in stage.at else 0
        made[layer] = torch.cat([text, *left]).sort().values
    return made


@contextmanager
def hidden_columns(model: Any, prompt: int, kept: Mapping[int, Tensor]) -> Iterator[None]:
    """Every layer sees only what ``kept`` says for the last stage before it; nothing is dropped, nothing cached.

    Args:
        model: Not pruned.
        prompt: Length of the prompt.
        kept: Positions of the prompt that stay, by the layer they stay from.
    """
    hooks = []

    def hook(layer: int) -> Callable[..., Any]:
        stages = [stage for stage in kept if stage <= layer]

        def before(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
            states = args[0]
            length = states.shape[1]
            seen = torch.ones(length, dtype=torch.bool)
            if stages:
                seen[:prompt] = False
                seen[kept[max(stages)]] = True
            allowed = torch.ones(length, length).tril().bool() & (seen | torch.eye(length).bool())
            mask = torch.zeros(1, 1, length, length).masked_fill(~allowed, torch.finfo(torch.float32).min)
            return args, {**kwargs, "attention_mask": mask}

        return before

    try:
        for number, layer in enumerate(model.model.language_model.layers):
            hooks.append(layer.register_forward_pre_hook(hook(number), with_kwargs=True))
        yield
    finally:
        for one in hooks:
            one.remove()


Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``states (L, D), positions (L,) -> `` both, as they are behind a stage."""


def layer_by_layer(model: LlavaForConditionalGeneration, batch: Batch, stages: Mapping[int, Change]) -> Tensor:
    """(L', V) logits of the one prompt of ``batch``."""
    language, config = model.model.language_model, model.config.text_config
    with torch.no_grad():
        states = model.get_input_embeddings()(batch.ids)
        images = torch.cat(list(features_of(model, pixel_values=batch.pixels)))
        states[0, batch.ids[0] == PLACEHOLDER] = images
        numbers = torch.arange(states.shape[1])
        for number, layer in enumerate(language.layers):
            if number in stages:
                changed, numbers = stages[number](states[0], numbers)
                states = changed[None]
            rotary = language.rotary_emb(states, position_ids=numbers[None])
            length = states.shape[1]
            mask = torch.ones(length, length).tril().bool()[None, None]
            if config._attn_implementation == "eager":
                mask = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
            made = layer(states, attention_mask=mask, position_embeddings=rotary, position_ids=numbers[None])
            states = made[0] if isinstance(made, tuple) else made
        return model.lm_head(language.norm(states))[0]


def numbered_afresh(states: Tensor, index: Sequence[int] | Tensor) -> tuple[Tensor, Tensor]:
    """Some positions' states, numbered without gaps."""
    index = torch.as_tensor(index)
    return states[index], torch.arange(len(index))
