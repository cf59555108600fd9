"""Signals of a decoder, and stages of methods that read them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import scope_core as scope
from scope_core import Pruner


def signals(features: torch.Tensor, layers: tuple[int, ...], seed: int = 0) -> dict[str, torch.Tensor]:
    """Signals of all families at the layers, made from (B, N, D) features and a drawn text of 24 tokens."""
    draw = torch.Generator().manual_seed(seed)
    batch, _, width = features.shape
    heads, words = 4, 24
    project = [torch.randn(width, width, generator=draw) / width**0.5 for _ in range(3)]
    text = torch.randn(batch, words, width, generator=draw) * features.std()
    made: dict[str, torch.Tensor] = {}
    for layer in layers:
        split = lambda x, p: (x @ p).unflatten(2, (heads, -1)).transpose(1, 2)  # noqa: E731
        keys, asked = split(features, project[0] * (1 + 0.1 * layer)), split(text, project[1])
        attention = (asked @ keys.transpose(2, 3) / (width / heads) ** 0.5).softmax(3)
        made |= {
            f"decoder.text_attention[{layer}]": attention,
            f"decoder.last_query_attention[{layer}]": attention[:, :, -1],
            f"decoder.received_attention[{layer}]": attention.mean(2),
            f"decoder.hidden[{layer}]": features,
            f"decoder.normed[{layer}]": features * (1 + torch.linspace(0, 1, width)),
            f"decoder.vision_hidden[{layer}]": features,
            f"decoder.keys[{layer}]": keys,
            f"decoder.text_hidden[{layer}]": text,
            f"decoder.text_normed[{layer}]": text * (1 + torch.linspace(0, 1, width)),
            f"decoder.text_keys[{layer}]": split(text, project[2]),
        }
    return made


def one(read: dict[str, torch.Tensor], family: str, layer: int, row: int = 0) -> np.ndarray[Any, Any]:
    return read[f"decoder.{family}[{layer}]"][row].double().numpy()


def alone(recipe: str, **options: Any) -> Pruner:
    """The first stage of a recipe, without those behind it, in float64."""
    return Pruner(recipe, then=[], dtype="float64", **options)


def select(pruner: Pruner, features: torch.Tensor, read: dict[str, torch.Tensor]) -> scope.Selection:
    return pruner.select(features, signals={name: tensor.double() for name, tensor in read.items()})
