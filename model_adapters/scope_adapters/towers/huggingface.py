"""A Hugging Face vision tower without a language model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scope_adapters.towers.images import ImageTower
from scope_adapters.towers.layouts import resolve_tower


class HuggingFaceTower(ImageTower):
    """A transformers vision model of a known layout, in eval mode, with its preprocessing.

    Args:
        module: The model.
        name: Name for messages and results.
        options: Options of `ImageTower`: ``size``, ``mean``, ``std``, ``layer``.
    """

    def __init__(self, module: Any, *, name: str, **options: Any) -> None:
        super().__init__(resolve_tower(module, name), name=name, **options)

    def run(self, pixels: Tensor, needs: frozenset[str]) -> None:
        """Run the forward; the probe skips layers that are not read."""
        self.module(pixel_values=pixels)
