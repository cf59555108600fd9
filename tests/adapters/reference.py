"""What a pruned LLaVA has to compute, done by hand: eager attention maps, the oracles, plain embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import oracles
import torch
from torch import Tensor

from adapters.installed import features_of, mixes_up_beams
from adapters.models import PLACEHOLDER, Batch, eager


def tower_pass(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Features as the projector gets them, and attention of layer -2 with all its columns.

    Returns:
        (images, N, D) and (images, H, M, M).
    """
    twin = _twin(model)
    config = twin.config
    with torch.no_grad():
        out = twin.model.vision_tower(pixels, output_hidden_states=True, output_attentions=True)
    layers = config.vision_feature_layer
    states = [out.hidden_states[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
    first = 1 if config.vision_feature_select_strategy == "default" else 0
    return torch.cat([state[:, first:] for state in states], -1), out.attentions[-2]


_TWINS: WeakKeyDictionary[Any, tuple[dict[str, Any], Any]] = WeakKeyDictionary()


def _twin(model: Any) -> Any:
    """The model with attention that can be returned; built once for each model, since that takes most of a test."""
    settings = model.config.to_dict()
    if _TWINS.get(model, ({}, None))[0] != settings:
        _TWINS[model] = settings, eager(model)
    twin = _TWINS[model][1]
    twin.load_state_dict(model.state_dict())
    return twin.to(next(model.parameters()).dtype)


def saliency(model: Any, pixels: Tensor) -> Tensor:
    """(images, N): attention from CLS, or received where the tower has none, summed over heads."""
    features, attention = tower_pass(model, pixels)
    siglip = model.config.vision_config.model_type == "siglip_vision_model"
    scores = attention.mean(2) if siglip else attention[:, :, 0]
    return scores.sum(1)[:, -features.shape[1] :]


def scope_kept(model: Any, pixels: Tensor, keep: Sequence[int]) -> list[list[int]]:
    """Tokens that SCOPE keeps of each image, ascending, by the float64 oracles."""
    features, _ = tower_pass(model, pixels)
    kept = []
    for image, score, count in zip(features, saliency(model, pixels), keep, strict=True):
        picks, _, _ = oracles.scope_picks(oracles.cosine_matrix(image.numpy()), score.numpy(), count)
        kept.append(sorted(picks))
    return kept


def generated(model: Any, given: Batch, **options: Any) -> Tensor:
    """What the unpruned host generates; from hand-built embeddings where its own beams would mix up images."""
    if options.get("num_beams", 1) == 1 or not mixes_up_beams(model, given.images):
        return model.generate(**given.inputs, **options)
    everything = [range(tokens_of(model))] * sum(given.images)
    new = model.generate(**embeddings(model, given, everything), **options)
    return torch.cat([given.ids.repeat_interleave(len(new) // len(given.ids), 0), new], 1)


def tokens_of(model: Any) -> int:
    """Tokens of an image."""
    vision = model.config.vision_config
    return (vision.image_size // vision.patch_size) ** 2 + int(
        vision.model_type != "siglip_vision_model" and model.config.vision_feature_select_strategy == "full"
    )


def embeddings(model: Any, batch: Batch, kept: Sequence[Sequence[int]], *, side: str = "left") -> dict[str, Tensor]:
    """``inputs_embeds`` and ``attention_mask`` of the prompts with only ``kept`` tokens of each image in them."""
    table = model.get_input_embeddings()
    projected = None
    if batch.pixels is not None:
        projected = torch.stack(features_of(model, pixel_values=batch.pixels))
        by_hand = model.model.multi_modal_projector(tower_pass(model, batch.pixels)[0])
        torch.testing.assert_close(projected, by_hand, atol=1e-4, rtol=1e-4)
    rows: list[Tensor] = []
    image = 0
    for ids, mask in zip(batch.ids.tolist(), batch.mask.tolist(), strict=True):
        row: list[Tensor] = []
        place = 0
        for token, real in zip(ids, mask, strict=True):
            if not real:
                continue
            if token != PLACEHOLDER:
                row.append(table.weight[token])
                continue
            if place in kept[image]:
                row.append(projected[image, place])
            place += 1
            if place == projected.shape[1]:
                image, place = image + 1, 0
        rows.append(torch.stack(row))
    longest = max(map(len, rows))
    embeds = torch.zeros(len(rows), longest, rows[0].shape[1], dtype=rows[0].dtype)
    attended = torch.zeros(len(rows), longest, dtype=torch.int64)
    for number, row in enumerate(rows):
        where = slice(longest - len(row), None) if side == "left" else slice(0, len(row))
        embeds[number, where] = row
        attended[number, where] = 1
    return {"inputs_embeds": embeds, "attention_mask": attended}
