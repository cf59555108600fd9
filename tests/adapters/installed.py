"""What the installed transformers calls and shapes differently from other releases, as the tests need it.

Written apart from `scope_adapters.compat`, but for the names of caches: the tests' reference must not lean on what it
checks.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

import scope_core as scope
from scope_adapters.compat.caches import cache_name, cache_of

__all__ = [
    "attention_switch",
    "beams_mended",
    "cache_of",
    "cached",
    "counts_on",
    "deepstack_of",
    "feature_layers",
    "features_of",
    "image_processor",
    "keys_of",
    "mixes_up_beams",
    "projection",
    "rope",
    "step",
    "takes_embeddings",
    "takes_text_positions",
    "takes_token_types",
    "tower_layers",
    "tower_rows",
    "values_of",
    "wants_ids_beside_embeddings",
    "with_attention",
]


attention_switch = pytest.mark.skipif(
    not hasattr(LlavaForConditionalGeneration, "set_attn_implementation"),
    reason="the attention of this transformers' models is chosen once for all",
)


def cached(model: Any, cache: Any) -> dict[str, Any]:
    """The argument by which ``model`` takes its cache."""
    name = cache_name(type(model).forward)
    assert name is not None
    return {name: cache}


def keys_of(cache: Any, layer: int) -> Tensor:
    """(B, H, L, C) keys that a layer's cache holds."""
    return cache.layers[layer].keys if hasattr(cache, "layers") else cache.key_cache[layer]


def values_of(cache: Any, layer: int) -> Tensor:
    """(B, H, L, C) values that a layer's cache holds."""
    return cache.layers[layer].values if hasattr(cache, "layers") else cache.value_cache[layer]


def features_of(model: Any, **images: Any) -> list[Tensor]:
    """(n_i, D) per image: what ``get_image_features`` of the model's body returns, whatever it is wrapped in."""
    wanted = inspect.signature(model.model.get_image_features).parameters
    config = {
        name: getattr(model.config, name)
        for name, one in wanted.items()
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD and name not in images
    }
    out = model.model.get_image_features(**images, **config)
    out = getattr(out, "pooler_output", out)
    if isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], list):  # rows, and DeepStack features
        out = out[0]
    rows = list(out)
    if rows[0].dim() == 1 and "image_grid_thw" in images:  # of all images together (4.52)
        unit = model.config.vision_config.spatial_merge_size**2
        rows = list(out.split((images["image_grid_thw"].prod(-1) // unit).tolist()))
    if hasattr(model.model, "pack_image_features") and rows[0].dim() == 3:  # tiles, which forward packs (4.52)
        pack = model.model.pack_image_features
        config = {name: getattr(model.config, name) for name in inspect.signature(pack).parameters if "vision" in name}
        flat, lengths = pack(rows, images["image_sizes"], image_newline=model.model.image_newline, **config)
        rows = list(flat.split(lengths.tolist()))
    return rows


def counts_on(model: Any) -> bool:
    """Whether ``generate`` counts on from position ids that the caller gave; older ones repeat the last, or fail."""
    return hasattr(model, "_prepare_position_ids_for_generation")


def deepstack_of(model: Any, pixels: Tensor, grids: Tensor) -> list[Tensor]:
    """(all tokens, D) per layer: Qwen3-VL's DeepStack features, beside its rows or in an output, split or not."""
    out = model.model.get_image_features(pixels, grids)
    layers = out[1] if isinstance(out, tuple) else out.deepstack_features
    return [layer if isinstance(layer, Tensor) else torch.cat(list(layer)) for layer in layers]


def image_processor(family: str, name: str) -> Any:
    """The class of a model's image processor that works with Pillow images alone."""
    module = f"transformers.models.{family}.image_processing_"
    try:
        return getattr(importlib.import_module(f"{module}pil_{family}"), f"{name}Pil")
    except ModuleNotFoundError:
        return getattr(importlib.import_module(f"{module}{family}"), name)


def feature_layers(config_class: Any) -> str:
    """The config entry of ViP-LLaVA for the tower's layers that are read."""
    name = "vision_feature_layers"
    return name if hasattr(config_class(), name) and name not in config_class.attribute_map else name[:-1]


def projection(layer: nn.Module, name: str) -> nn.Module:
    """The projection to "query" or "key" of a tower's layer."""
    return next(part for path, part in layer.named_modules() if path.split(".")[-1] in (name, f"{name[0]}_proj"))


def rope(config_class: Any, **options: Any) -> dict[str, Any]:
    """Arguments of a text config for its rotary embedding, of which the base has an argument of its own up to 4.57."""
    if "rope_parameters" in inspect.signature(config_class).parameters:
        return {"rope_parameters": options}
    return {"rope_theta": options.pop("rope_theta"), "rope_scaling": options}


def step(model: Any, cache: Any) -> dict[str, Any]:
    """What goes with the ids of one further token: the cache, and its length where ``forward`` asks for that."""
    given = cached(model, cache)
    if "cache_position" in inspect.signature(type(model).forward).parameters:
        given["cache_position"] = torch.tensor([cache.get_seq_length()])
    return given


def takes_token_types(model: Any) -> bool:
    """Whether a model, or a class of them, is told which tokens are images, rather than find that out by their ids."""
    kind = model if isinstance(model, type) else type(model)
    return "mm_token_type_ids" in inspect.signature(kind.forward).parameters


@functools.cache
def takes_text_positions(model: Any) -> bool:
    """Whether Qwen-VL's language model takes text positions as a fourth axis: 4.52 does not."""
    width, ids = model.config.get_text_config().hidden_size, torch.zeros(4, 1, 2, dtype=torch.long)
    try:
        model.model.language_model(inputs_embeds=torch.zeros(1, 2, width), position_ids=ids)
    except RuntimeError:
        return False
    return True


@functools.cache
def wants_ids_beside_embeddings(model: Any) -> bool:
    """Whether a model that is given embeddings asks for ids, too: Idefics3 of 4.52 does, and does not read them."""
    try:
        model.model(inputs_embeds=torch.zeros(1, 2, model.config.get_text_config().hidden_size))
    except ValueError:
        return True
    return False


def takes_embeddings(model: Any) -> bool:
    """Whether a whole prompt may be given as embeddings alone; Idefics3 of 4.52 asks for ids beside them."""
    embeds = model.get_input_embeddings()(torch.ones(1, 3, dtype=torch.long))
    with contextlib.suppress(AttributeError), torch.no_grad():  # of models that number their positions by ids
        try:
            model(inputs_embeds=embeds)
        except ValueError:
            return False
    return True


def tower_layers(tower: nn.Module) -> Sequence[Any]:
    """The layers of a vision tower."""
    encoder = (tower if hasattr(tower, "encoder") else tower.vision_model).encoder
    return encoder.layers if hasattr(encoder, "layers") else encoder.layer


def tower_rows(output: Any) -> Tensor:
    """(all tokens, D) of what a tower of Qwen-VL returned: rows alone, with DeepStack features, or in an output."""
    output = getattr(output, "pooler_output", output)
    rows: Tensor = output[0] if isinstance(output, tuple) else output
    return rows


def with_attention(model: Any, attention: str) -> Any:
    """The same weights under another attention."""
    twin = type(model)._from_config(model.config.__class__(**model.config.to_dict()), attn_implementation=attention)
    twin.load_state_dict(model.state_dict())
    if hasattr(model, "generation_config"):
        twin.generation_config = model.generation_config
    return twin.to(next(model.parameters()).dtype).eval()


def mixes_up_beams(model: Any, images: Sequence[int]) -> bool:
    """Whether the host's own beams read other prompts' images: releases before 5.18 repeat pixels, and 5.18 repeats
    features, image by image, which is right only where every prompt has one image.
    """
    return set(images) != {1} and not beams_get_whole_groups(model)


def beams_get_whole_groups(model: Any) -> bool:
    """Whether images A and B of a prompt go to two beams as A, B, A, B."""
    if not hasattr(model, "_expand_multimodal_outputs"):
        return False
    ids = torch.full((1, 2), model.config.image_token_id)
    output = SimpleNamespace(pooler_output=[torch.zeros(1, 1), torch.ones(1, 1)])
    dealt = model._expand_multimodal_outputs(ids, {"image": output}, expand_size=2)["image"]
    return torch.cat(dealt.pooler_output).flatten().tolist() == [0, 1, 0, 1]


@contextlib.contextmanager
def beams_mended(model: Any, images: Sequence[int]) -> Iterator[None]:
    """Inside, beams read their own prompts' images.

    Where the host's would not, a pruner that keeps everything deals them out; other tests compare that with embeddings
    built by hand.
    """
    if not mixes_up_beams(model, images):
        yield
        return
    everything = {"recipe": "uniform_grid", "budget": {"name": "ratio", "keep_ratio": 1.0}, "at": "projected"}
    with scope.Pruner(everything).attach(model):
        yield
