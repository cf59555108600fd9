"""A Hugging Face vision tower by itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scope_adapters.towers.layouts import resolve_tower
from scope_adapters.towers.pictures import PictureTower


class HuggingFaceTower(PictureTower):
    """A transformers vision model of a known layout, in eval mode, with its preprocessing.

    Args:
        module: The model.
        name: What to call it.
        options: Those of `PictureTower`: ``size``, ``mean``, ``std``, ``layer``.
    """

    def __init__(self, module: Any, *, name: str, **options: Any) -> None:
        super().__init__(resolve_tower(module, name), name=name, **options)

    def run(self, pixels: Tensor, needs: frozenset[str]) -> None:
        """The whole forward; the probe makes layers that nothing reads the identity."""
        self.module(pixel_values=pixels)
