"""A vision tower without a language model: images in, tokens out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from scope_adapters.towers.canvas import CANVAS, no_canvas
from scope_adapters.towers.layouts import ResolvedTower
from scope_adapters.towers.probe import offers, probe, reasons
from scope_core import AdapterError, VisualTokens, ZooError
from scope_core.adapters import Declaration, Offer, read_images, upright_rgb


class ImageTower(ABC):
    """A tower with its preprocessing; satisfies `scope_core.adapters.Tower`.

    Args:
        tower: The resolved tower.
        name: Name for messages and results.
        size: Side of the square input image in pixels.
        mean: Per-channel mean, RGB in 0..1.
        std: Per-channel standard deviation.
        layer: Layer whose output the features are, counted as in ``hidden_states``.
    """

    def __init__(
        self,
        tower: ResolvedTower,
        *,
        name: str,
        size: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        layer: int = -2,
    ) -> None:
        self.tower, self.name, self.size, self.mean, self.std, self.layer = tower, name, size, mean, std, layer
        self.module = tower.module

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.size} x {self.size} pixels)"

    @abstractmethod
    def run(self, pixels: Tensor, needs: frozenset[str]) -> None:
        """Run one pass over ``pixels`` (B, 3, size, size), at least up to the highest layer in ``needs``."""

    @property
    def declaration(self) -> Declaration:
        """The declaration, with one point, ``vision``: a tower without a model has no projector."""
        return Declaration(
            model=self.name,
            points={"vision": f"hidden state of layer {self.layer}, prefix tokens removed"},
            offers=(*offers(self.tower), Offer(CANVAS)),
            reasons={**reasons(self.tower), "projected": "a tower without a model has no projector"},
            has_cls=self.tower.layout.cls,
            modules=self.tower.paths,
            architecture=self.tower.architecture,
        )

    def view(self, image: Any) -> Image:
        """The image that the tower reads: shorter side resized to ``size`` (bicubic), centre crop."""
        return self._cropped(upright_rgb(image))

    def _cropped(self, image: Image) -> Image:
        from PIL import ImageOps
        from PIL.Image import Resampling

        return ImageOps.fit(image, (self.size, self.size), method=Resampling.BICUBIC)

    def pixels(self, images: Sequence[Any]) -> Tensor:
        """(B, 3, size, size) normalised pixels on the tower's device and dtype.

        Raises:
            ZooError: there is no image, or one cannot be read.
        """
        views = [self._cropped(image) for image in read_images(images)]
        if not views:
            raise ZooError(f"no image was given; tower '{self.name}' needs at least one")
        raw = torch.stack([torch.frombuffer(bytearray(view.tobytes()), dtype=torch.uint8) for view in views])
        scaled = raw.view(-1, self.size, self.size, 3).permute(0, 3, 1, 2).float() / 255
        mean, std = torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)
        weight = next(self.module.parameters())
        return ((scaled - mean) / std).to(weight.device, weight.dtype)

    def encode(self, images: Sequence[Any], *, at: str, needs: frozenset[str]) -> VisualTokens:
        """Tokens of the images, one group each; layers that are not read are skipped.

        Args:
            images: At least one image, of any size: paths, Pillow images, arrays, ...; see
                `scope_core.adapters.read_images`.
            at: Only ``"vision"``.
            needs: Signals to capture.

        Raises:
            AdapterError: ``at`` is another point.
            ZooError: there is no image, or one cannot be read.
        """
        if at != "vision":
            raise AdapterError(f"tower '{self.name}' has tokens at 'vision' only, not at '{at}'")
        read = frozenset({*needs, f"vision.hidden[{self.layer}]"})
        rows, cols = self.tower.grid(self.size, self.size)
        with torch.no_grad(), probe(self.tower, read, dtype=torch.float32, last=self.layer) as capture:
            self.run(self.pixels(images), read)
        features = capture.hidden(self.layer, rows * cols)
        signals = capture.signals(needs, rows * cols)
        if CANVAS in needs:
            signals[CANVAS] = lambda: no_canvas(features)
        return VisualTokens.of(features, grid=(rows, cols), signals=signals)
