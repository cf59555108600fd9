"""A demo of a tower and one of a model that read no weights, and uploads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import tiny
from cli.fake_zoo import FakeTower
from PIL import Image

import scope_core as scope
from scope_demo.demo import Demo
from scope_demo.model import ModelSubject
from scope_demo.tower import TowerSubject


@pytest.fixture
def demo(registry: scope.Registry, tmp_path: Path) -> Demo:
    """Of a tower with 144 tokens."""
    made = Demo(TowerSubject("fake-tower", FakeTower(), registry), registry)
    made.folder = tmp_path.resolve()
    return made


@pytest.fixture(scope="module")
def asking(registry: scope.Registry) -> Demo:
    """Of a tiny LLaVA with 16 tokens."""
    return Demo(ModelSubject(tiny.loaded(), registry), registry)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Writes a file where uploads are."""

    def write(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.fixture(scope="session")
def noise() -> Image.Image:
    """An image that does not compress."""
    return Image.effect_noise((300, 200), 80).convert("RGB")
