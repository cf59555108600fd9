"""Methods of 2025 and 2026 that need no language model, against oracles in float64: the same picks in the same order.

The oracles are in `oracles_recent`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import oracles_recent as oracle
import pytest
import torch
from conftest import Photos

import scope_core as scope

Array = np.ndarray
SIDE = 24


def cases(photos: Photos) -> list[tuple[Array, Array, Array, Array]]:
    """Features, attention, similarities to two chunks of text and to nine words: photographs, and random numbers."""
    found = [(features, attention) for features, attention in zip(photos.features, photos.saliency, strict=True)]
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(576, 40, generator=generator) + torch.randn(1, 40, generator=generator)
        found.append((drawn, torch.rand(576, generator=generator) ** 3))
    made = []
    for seed, (features, attention) in enumerate(found):
        random = np.random.default_rng(seed)
        text, words = random.normal(size=(2, 576)) / 20 + 0.2, random.normal(size=(9, 576)) / 20 + 0.1
        made.append((features.double().numpy(), attention.double().numpy(), text, words))
    return made


@pytest.mark.parametrize("keep", [16, 64])
def test_picks_are_the_oracles(keep: int, photo_features: Photos) -> None:
    for x, attention, text, words in cases(photo_features):
        signals = {
            "vision.cls_attention[-2]": attention[None, None],
            "clip.text_similarity": text[None],
            "clip.word_similarity": words[None],
        }

        def picks(
            recipe: str, x: Array = x, signals: dict[str, Array] = signals, keep: int = keep, **more: Any
        ) -> list[int]:
            given = {name: torch.tensor(array) for name, array in signals.items()}
            spec = {"recipe": recipe, "budget": keep, "dtype": "float64", **more}
            return scope.select(torch.tensor(x), signals=given, grid=(SIDE, SIDE), spec=spec).picks[0].tolist()

        assert picks("adts") == oracle.adts(x, attention, keep)
        assert picks("gprune") == oracle.gprune(x, keep)
        assert picks("otprune") == oracle.otprune(x, keep)
        assert picks("apet") == oracle.apet(x, keep)
        assert picks("eadp") == oracle.eadp(x, text, words, keep, SIDE)


def test_apet_merges_the_rest_by_cosine(photo_features: Photos) -> None:
    x = photo_features.features[0].double()
    got = scope.select(x, spec={"recipe": "apet", "budget": 16, "dtype": "float64"})
    kept = got.rows[0].tolist()
    home = oracle.cosines(x.numpy())[:, kept].argmax(1)
    home[kept] = range(16)
    wanted = np.array([x.numpy()[home == row].mean(0) for row in range(16)])
    np.testing.assert_allclose(got.merge(x[None])[0], wanted, rtol=1e-9, atol=1e-9)
