"""Shared fixtures. Everything here works without a network."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis
import numpy as np
import pytest
import torch

import scope_core as scope

collect_ignore = [
    "evaluation",
    "original_llava",
    "serving",
    "web",
]  # those run in an environment of their own: see CONTRIBUTING.md
torch.set_num_threads(1)
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, max_examples=60)
hypothesis.settings.load_profile("suite")

GRID = 24
PATCH = 14
WIDTH = 64


@dataclass(frozen=True)
class Photos:
    """Features of real photographs: `features` (B, 576, 64), `saliency` (B, 576), one row per name."""

    names: tuple[str, ...]
    features: torch.Tensor
    saliency: torch.Tensor
    grid: tuple[int, int] = (GRID, GRID)

    def one(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        row = self.names.index(name)
        return self.features[row : row + 1], self.saliency[row : row + 1]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def registry() -> scope.Registry:
    return scope.default_registry()


@pytest.fixture(scope="session")
def photo_features() -> Photos:
    """Patch descriptors of three photographs: pixels and gradients of each of 24 x 24 patches, projected."""
    from skimage import data

    names = ("astronaut", "chelsea", "coffee")
    described = [describe(getattr(data, name)()) for name in names]
    features = np.stack([features for features, _ in described])
    mixing = np.random.default_rng(0).normal(size=(features.shape[2], WIDTH)) / WIDTH**0.5
    features = (features - features.mean((0, 1))) / features.std((0, 1)) @ mixing
    saliency = np.stack([contrast for _, contrast in described])
    return Photos(names, torch.tensor(features, dtype=torch.float32), torch.tensor(saliency, dtype=torch.float32))


def describe(photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(576, F) descriptors and (576,) local contrast of an RGB photograph, resized to 336 x 336."""
    from PIL import Image

    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = Image.fromarray(photo[top : top + side, left : left + side, :3])
    pixels = np.asarray(square.resize((GRID * PATCH, GRID * PATCH)), dtype=np.float64) / 255
    down, right = np.gradient(pixels.mean(2))
    channels = np.concatenate([pixels, down[..., None], right[..., None], np.hypot(down, right)[..., None]], axis=2)
    patches = channels.reshape(GRID, PATCH, GRID, PATCH, -1).swapaxes(1, 2).reshape(GRID * GRID, PATCH, PATCH, -1)
    halves = patches.reshape(len(patches), 2, PATCH // 2, 2, PATCH // 2, -1).mean((2, 4))
    features = np.concatenate([halves.reshape(len(patches), -1), patches.std((1, 2))], axis=1)
    return features, 0.02 + patches[..., :3].mean(3).std((1, 2))
