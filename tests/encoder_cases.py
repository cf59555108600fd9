"""Images with queries, keys and attention that fit together, as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import oracles_encoder as oracle
import torch

import scope_core as scope
from scope_core import Layout, Pruner, VisualTokens

HEADS, WIDTH = 4, 8
LAYERS = (-1, -2, 9)


@dataclass(frozen=True)
class Tile:
    """One tile, in float64: (N, D) features, and per layer (H, d) query of CLS and (H, 1 + N, d) keys, CLS first."""

    features: np.ndarray
    cls: np.ndarray
    query: dict[int, np.ndarray]
    keys: dict[int, np.ndarray]
    received: dict[int, np.ndarray]

    @property
    def side(self) -> int:
        return round(len(self.features) ** 0.5)

    def attention(self, layer: int, how: str = "mean") -> np.ndarray:
        per_head = np.exp((self.keys[layer] @ self.query[layer][:, :, None])[..., 0] / WIDTH**0.5)
        per_head = per_head / per_head.sum(1, keepdims=True)
        return getattr(per_head[:, 1:], how)(0) if how else per_head[:, 1:]

    def key(self, layer: int, heads: str) -> np.ndarray:
        patches = self.keys[layer][:, 1:]
        return patches.mean(0) if heads == "mean" else patches.transpose(1, 0, 2).reshape(len(self.features), -1)


def tile(features: np.ndarray, seed: int) -> Tile:
    """Queries and keys as a tower might make them of these features."""
    random = np.random.default_rng(seed)
    count, width = features.shape
    with_cls = np.concatenate([features.mean(0, keepdims=True), features])
    keys, query, received = {}, {}, {}
    for layer in LAYERS:
        mix = random.normal(size=(2, HEADS, width, WIDTH)) / width**0.5
        keys[layer] = with_cls @ mix[0] + random.normal(size=(HEADS, 1, WIDTH))
        query[layer] = 2 * random.normal(size=(HEADS, WIDTH))
        received[layer] = random.random((HEADS, count)) ** 3
    return Tile(features, random.normal(size=width), query, keys, received)


@dataclass(frozen=True)
class Case:
    """Several tiles of one image, as tokens."""

    tiles: tuple[Tile, ...]

    @property
    def layout(self) -> Layout:
        return Layout.of([[len(t.features) for t in self.tiles]])

    def tokens(self, dtype: torch.dtype = torch.float64) -> VisualTokens:
        def joined(rows: list[np.ndarray], axis: int) -> torch.Tensor:
            return torch.tensor(np.concatenate(rows, axis)[None]).to(dtype)

        signals = {}
        for layer in LAYERS:
            signals[f"vision.cls_attention[{layer}]"] = joined([t.attention(layer, "") for t in self.tiles], 1)
            signals[f"vision.received_attention[{layer}]"] = joined([t.received[layer] for t in self.tiles], 1)
            signals[f"vision.mean_attention[{layer}]"] = joined([t.received[layer].mean(0) for t in self.tiles], 0)
            whole = [oracle.joint_attention(t.query[layer], t.keys[layer]) for t in self.tiles]
            signals[f"vision.joint_attention[{layer}]"] = joined(whole, 0)
            signals[f"vision.keys[{layer}]"] = joined([t.keys[layer][:, 1:] for t in self.tiles], 1)
        cls = joined([np.repeat(t.cls[None], len(t.features), 0) for t in self.tiles], 0)
        places = [np.divmod(np.arange(len(t.features)), t.side) for t in self.tiles]
        return VisualTokens.of(
            joined([t.features for t in self.tiles], 0),
            row=torch.tensor(np.concatenate([row for row, _ in places]))[None],
            col=torch.tensor(np.concatenate([col for _, col in places]))[None],
            tile=torch.tensor(np.repeat(range(len(self.tiles)), [len(t.features) for t in self.tiles]))[None],
            signals={**signals, "vision.cls[-2]": cls},
        )

    def select(self, recipe: str, dtype: str = "float64", **more: Any) -> scope.Selection:
        tokens = self.tokens(torch.float64 if dtype == "float64" else torch.float32)
        return Pruner(recipe, dtype=dtype, **more).prune(tokens, self.layout)


@cache
def random_case(tiles: int = 1, side: int = 24, seed: int = 0) -> Case:
    random = np.random.default_rng(seed)
    return Case(tuple(tile(random.normal(size=(side * side, 32)), seed + 10 * i) for i in range(tiles)))
