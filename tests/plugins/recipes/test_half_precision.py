"""Recipes ``@official`` in half precision: the same tokens in the same order as the releases' order of operations."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import offers
import oracles_half as oracle
import pytest
import torch
from conftest import Photos
from encoder_cases import HEADS, WIDTH, Tile, tile
from torch import Tensor

import scope_core as scope
from scope_core import Layout, Pruner, VisualTokens

DTYPES = [pytest.param(torch.float16, marks=offers.half_products), torch.bfloat16]
RANDOM = range(4)
KEEP = (16, 64, 192)


class Half:
    """One tile as a tower of half precision gives it, with the attention that its own queries and keys make."""

    def __init__(self, made: Tile, seed: int, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(seed)

        def cast(array: np.ndarray) -> Tensor:
            return torch.tensor(array).to(dtype)

        self.features = cast(made.features)
        self.keys = {layer: cast(keys) for layer, keys in made.keys.items()}
        query = {layer: torch.randn(HEADS, 1 + len(made.features), WIDTH, generator=generator) for layer in made.keys}
        self.query = {layer: (2 * drawn).to(dtype) for layer, drawn in query.items()}
        self.maps = {layer: (self.query[layer] @ self.keys[layer].mT * WIDTH**-0.5).softmax(-1) for layer in made.keys}
        self.text = torch.randn(5, self.features.shape[1], generator=generator).to(dtype)
        self.relevance = (
            torch.randn(2, len(self.features), generator=generator) / 20 + 0.2
        )  # float32, as in the release

    def attention(self, layer: int = -2) -> Tensor:
        """(H, N) from CLS."""
        return self.maps[layer][:, 0, 1:]

    def whole(self, layer: int) -> tuple[Tensor, Tensor]:
        """The query of CLS and all keys, heads side by side."""
        return self.query[layer][:, 0].flatten(), self.keys[layer].transpose(0, 1).flatten(1)

    @property
    def tokens(self) -> VisualTokens:
        signals = {"vision.hidden[-2]": self.features[None], "text.embeddings": self.text[None]}
        signals |= {"clip.text_similarity": self.relevance[None]}
        for layer in self.keys:
            query, keys = self.whole(layer)
            joint = ((query[None] @ keys.T) * len(query) ** -0.5).softmax(-1)[:, 1:]
            signals |= {
                f"vision.cls_attention[{layer}]": self.attention(layer)[None],
                f"vision.mean_attention[{layer}]": self.maps[layer].mean(0).mean(0)[None, 1:],
                f"vision.joint_attention[{layer}]": joint,
                f"vision.keys[{layer}]": self.keys[layer][None, :, 1:],
            }
        side = round(len(self.features) ** 0.5)
        return VisualTokens.of(self.features[None], grid=(side, side), signals=signals)

    def prune(self, recipe: str, **spec: Any) -> scope.Selection:
        return Pruner(recipe, **spec).prune(self.tokens)


@pytest.fixture(scope="module")
def halves(photo_features: Photos) -> Any:
    """Cases of a dtype: photographs, and random numbers."""
    features = [photo_features.one(name)[0][0].double().numpy() for name in photo_features.names]
    features += [np.random.default_rng(seed).normal(size=(576, 48)) for seed in RANDOM]

    @cache
    def of(dtype: torch.dtype) -> list[Half]:
        return [Half(tile(each, seed), seed, dtype) for seed, each in enumerate(features)]

    return of


@pytest.mark.parametrize("dtype", DTYPES)
class TestReleasedOrder:
    def test_scope(self, dtype: torch.dtype, halves: Any) -> None:
        for case in halves(dtype):
            wanted = oracle.scope(case.features, case.attention(), 192)
            for keep in KEEP:
                assert case.prune(f"scope@official@{keep}").picks[0].tolist() == wanted[:keep]

    def test_divprune(self, dtype: torch.dtype, halves: Any) -> None:
        for case in halves(dtype):
            wanted = oracle.divprune(case.features, 192)
            for keep in KEEP:
                assert case.prune(f"divprune@official@{keep}").picks[0].tolist() == wanted[:keep]

    @pytest.mark.parametrize("keep", KEEP)
    def test_attention_methods(self, dtype: torch.dtype, halves: Any, keep: int) -> None:
        for case in halves(dtype):
            attention = case.attention()
            kept = {name: case.prune(f"{name}@official@{keep}").kept[0].tolist() for name in ("fastervlm", "vispruner")}
            assert kept["fastervlm"] == oracle.fastervlm(attention, keep)
            assert kept["vispruner"] == oracle.vispruner(attention, case.features, keep)
            few = min(keep, 96)  # no chunk has fewer tokens than its share, where the release pads with zeros
            rows = case.prune(f"holov@official@{few}").rows[0].tolist()
            assert rows == oracle.holov(attention, case.features, few)
            wanted = oracle.hiprune(case.maps[9], case.maps[-2], keep, 24)
            assert case.prune(f"hiprune@official@{keep}").kept[0].tolist() == wanted

    @pytest.mark.parametrize("keep", KEEP)
    def test_merging_methods(self, dtype: torch.dtype, halves: Any, keep: int) -> None:
        for case in halves(dtype):
            keys = case.keys[-2][:, 1:]
            assert case.prune(f"tome@official@{keep}").rows[0].tolist() == oracle.tome(keys, keep)
            contextual = keep * 10 // 64
            got = case.prune(f"visionzip@official@{keep}")
            wanted, homes = oracle.visionzip(case.attention(), keys, keep - contextual - 1, contextual)
            assert got.rows[0].tolist() == [-1, *wanted]
            assert got.weights is not None
            weights = got.weights[0, -contextual:]
            for target, row in zip(wanted[-contextual:], weights, strict=True):
                merged = [token for token, home in enumerate(homes) if home == target]
                assert row.nonzero().flatten().tolist() == sorted([target, *merged])

    def test_prumerge(self, dtype: torch.dtype, halves: Any) -> None:
        for case in halves(dtype):
            wanted = oracle.prumerge(*(part[0] if part.dim() == 3 else part for part in case.whole(-1)))
            assert case.prune("prumerge@official").rows[0].tolist() == [*wanted, -1]

    def test_text_methods(self, dtype: torch.dtype, halves: Any) -> None:
        for case in halves(dtype):
            wanted = oracle.mmtok(case.features, case.features, case.text, 64)
            assert case.prune("mmtok@official@64").picks[0].tolist() == wanted
            wanted = oracle.cdpruner(case.features, case.relevance, 192)
            got = case.prune("cdpruner@official@192").picks[0].tolist()
            assert 32 < len(wanted) < 192  # rounding picks the last ones, since vectors of this width span all others
            assert got[: len(wanted)] == wanted
            assert len(set(got)) == 192


@pytest.mark.parametrize("dtype", DTYPES)
def test_five_tiles_as_released(dtype: torch.dtype, halves: Any) -> None:
    """SCOPE divides its budget by the number of tiles and rounds down; VisionZip gives each tile the whole number."""
    five = halves(dtype)[:5]
    width = min(case.features.shape[1] for case in five)
    features = torch.cat([case.features[:, :width] for case in five])
    signals = {
        "vision.cls_attention[-2]": torch.cat([case.attention() for case in five], 1)[None],
        "vision.keys[-2]": torch.cat([case.keys[-2][:, 1:] for case in five], 1)[None],
        "vision.cls[-2]": features[None],
    }
    layout = Layout.of([[576] * 5])
    got = Pruner("scope@official@64").select(features[None], signals=signals, layout=layout)
    wanted = []
    for number, case in enumerate(five):
        wanted += [576 * number + pick for pick in oracle.scope(case.features[:, :width], case.attention(), 12)]
    assert got.picks[0].tolist() == wanted
    assert Pruner("scope@by_tile@64").select(features[None], signals=signals, layout=layout).row_counts == (64,)
    zipped = Pruner("visionzip@official@64").select(features[None], signals=signals, layout=layout)
    assert zipped.row_counts == (320,)
    wanted = []
    for number, case in enumerate(five):
        kept, _ = oracle.visionzip(case.attention(), case.keys[-2][:, 1:], 53, 10)
        wanted += [-1, *(576 * number + token for token in kept)]
    assert zipped.rows[0].tolist() == wanted
