"""Methods that adapt to the image, against oracles: photographs, random tokens, flat images."""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_adaptive as oracle
import pytest
import torch
from conftest import Photos

import scope_core as scope
from scope_core import Pruner, Selection

GRID = (24, 24)
BUDGETS = (3, 24)


class Image:
    """One image in float64, with made-up attention and relevance."""

    def __init__(self, features: torch.Tensor, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.features = features.double()
        self.attention = random.random((3, len(features))) ** 4  # 2 layers, and relevance
        self.x = self.features.numpy()

    def select(self, recipe: str, keep: int, **more: Any) -> Selection:
        shallow, deep, relevance = (torch.tensor(row)[None, None] for row in self.attention)
        signals = {
            "vision.cls_attention[6]": shallow,
            "vision.cls_attention[-2]": deep,
            "clip.text_similarity": -relevance,
            "clip.embeddings": self.features[None],
            "vision.cls[-2]": torch.zeros_like(self.features[None]),
        }
        spec = {"recipe": recipe, "budget": keep, "dtype": "float64", **more}
        return scope.select(self.features[None], spec=spec, signals=signals, grid=GRID)


@pytest.fixture(scope="module")
def images(photo_features: Photos) -> list[Image]:
    """Photographs, and tokens in few and in many directions."""
    made = [Image(features, seed) for seed, features in enumerate(photo_features.features)]
    drawn = torch.randn(576, 64, generator=torch.Generator().manual_seed(3))
    few = drawn * torch.exp(-torch.arange(64) / 3.3)  # spectral entropy 0.41
    return [*made, Image(few, 3), Image(drawn, 4)]


@pytest.mark.parametrize("keep", BUDGETS)
class TestOracles:
    def test_anchorprune(self, keep: int, images: list[Image]) -> None:
        sizes = set()
        for one in images:
            _, deep, relevance = one.attention
            wanted, anchors = oracle.anchorprune(relevance, deep, one.x, keep)
            got = one.select("anchorprune", keep)
            assert got.picks[0].tolist() == wanted
            assert got.stage is not None
            assert int((got.stage == 0).sum()) == anchors
            sizes.add(anchors)
        assert keep < 24 or len(sizes) > 1  # the image decides

    def test_promprune(self, keep: int, images: list[Image]) -> None:
        shares = set()
        for one in images:
            wanted, salient = oracle.promprune(one.attention[1], one.x, keep)
            got = one.select("promprune", keep)
            assert got.picks[0].tolist() == wanted
            assert got.stage is not None
            assert int((got.stage == 0).sum()) == salient
            shares.add(salient)
        assert len(shares) > 1 or keep < 9  # the image decides

    def test_agilepruner(self, keep: int, images: list[Image]) -> None:
        for one in images:
            assert one.select("agilepruner", keep).picks[0].tolist() == oracle.agilepruner(
                one.attention[1], one.x, keep
            )

    def test_prunesid(self, keep: int, images: list[Image]) -> None:
        for one in images:
            keep = max(keep, 8)
            wanted = oracle.prunesid(one.attention[1], one.x, keep)
            assert sorted(one.select("prunesid", keep).picks[0].tolist()) == sorted(wanted)
            wanted = oracle.prunesid(one.attention[1], one.x, keep, cls=True)
            assert sorted(one.select("prunesid@official", keep).picks[0].tolist()) == sorted(wanted)

    def test_vscan(self, keep: int, images: list[Image]) -> None:
        for one in images:
            wanted, rows = oracle.vscan(one.attention[0], one.attention[1], one.x, 24, keep)
            got = one.select("vscan@encoder", keep)
            assert got.rows[0].tolist() == wanted
            np.testing.assert_allclose(got.merge(one.features[None])[0], rows, rtol=1e-9, atol=1e-9)

    def test_scissor(self, keep: int, images: list[Image]) -> None:
        for one in images:
            wanted = oracle.scissor(one.x, keep)
            assert one.select("scissor", keep).rows[0].tolist() == wanted


def test_prunesid_keeps_fewer_tokens_of_images_whose_tokens_are_alike(images: list[Image]) -> None:
    for one in images:
        cosine = oracle.cosines(one.x)
        mean = (cosine.sum() - len(cosine)) / len(cosine) / (len(cosine) - 1)
        wanted = min(64, round(64 * min(1 - mean, 1)))
        assert one.select("prunesid_dynamic", 64).counts == (wanted,)
    alike = Image(torch.randn(576, 16) * 0.5 + 2, 0)
    assert alike.select("prunesid_dynamic", 64).counts[0] < 16


METHODS = ("anchorprune", "promprune", "agilepruner", "prunesid", "prunesid_dynamic", "vscan@encoder", "scissor")


@pytest.mark.parametrize("recipe", [*METHODS, "anchorprune@official", "promprune@official", "prunesid@official"])
def test_flat_images(recipe: str) -> None:
    """All tokens equal: as many as planned, or one if the count follows from how many things there are."""
    flat = Image(torch.full((576, 16), 0.25), 0)
    got = flat.select(recipe, 33)
    assert got.row_counts == ((1,) if recipe in ("scissor", "prunesid_dynamic") else (33,))
    rows = got.merge(flat.features[None], cls=flat.features[None])
    assert bool((rows - 0.25).abs().max() < 1e-9)


def test_plans_say_whether_counts_are_exact() -> None:
    for recipe in METHODS:
        plan = Pruner(f"{recipe}@64").plan([576])
        assert (plan.exact, plan.total) == (recipe not in ("scissor", "prunesid_dynamic"), 64)


def test_a_batch_gives_what_its_images_give(images: list[Image]) -> None:
    few = images[:2]
    signals = {
        f"vision.cls_attention[{layer}]": torch.tensor(np.stack([one.attention[row] for one in few]))[:, None]
        for layer, row in ((6, 0), (-2, 1))
    }
    signals["clip.text_similarity"] = -torch.tensor(np.stack([one.attention[2] for one in few]))[:, None]
    together = torch.stack([one.features for one in few])
    for recipe in METHODS:
        spec = {"recipe": recipe, "budget": 20, "dtype": "float64"}
        got = scope.select(together, spec=spec, signals=signals, grid=GRID)
        for row, one in zip(got.rows.tolist(), few, strict=True):
            alone = one.select(recipe, 20).rows[0].tolist()
            assert row[: len(alone)] == alone
