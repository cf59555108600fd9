"""Real photographs through the real tower. Encoded once for the whole session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image

import scope_core as scope
from scope_core.adapters import Tower

SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg")
SKLEARN = ("china.jpg", "flower.jpg")


@dataclass(frozen=True)
class Encoded:
    """`tokens` of all photographs, and `attention` (B, 576): CLS attention summed over heads."""

    names: tuple[str, ...]
    tokens: scope.VisualTokens
    attention: torch.Tensor


def photographs() -> dict[str, Image.Image]:
    import skimage
    import sklearn

    data, images = Path(skimage.__file__).parent / "data", Path(sklearn.__file__).parent / "datasets" / "images"
    paths = [*(data / name for name in SKIMAGE), *(images / name for name in SKLEARN)]
    return {path.stem: Image.open(path).convert("RGB") for path in paths}


@pytest.fixture(scope="session")
def tower() -> Tower:
    """The real dinov2-small; skipped with the reason where it cannot be had (CI counts a skip as a failure)."""
    try:
        return scope.load("dinov2-small")
    except scope.ZooError as error:
        pytest.skip(f"the dinov2-small tower cannot be had: {error}")


@pytest.fixture(scope="session")
def encoded(tower: Tower) -> Encoded:
    photos = photographs()
    needs = frozenset({"vision.cls_attention[-2]", "vision.received_attention[-2]"})
    tokens = tower.encode(list(photos.values()), at="vision", needs=needs)
    return Encoded(tuple(photos), tokens, tokens.signal("vision.cls_attention[-2]").sum(1))
