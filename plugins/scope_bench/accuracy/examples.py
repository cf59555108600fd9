"""Examples of a task with their opened image, and with their objects on the grid of tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from scope_bench.accuracy.cache import digest
from scope_core import ScopeError, TaskError, VisualTokens
from scope_core.adapters import upright_rgb
from scope_core.tasks import Example


@dataclass(frozen=True)
class Scene:
    """An example with the view that the model's tower has of its image.

    Attributes:
        example: The example.
        view: Function that returns an image as the tower sees it, `LoadedModel.view`; None if it is unknown.
    """

    example: Example
    view: Callable[[Image.Image], Any] | None = None

    @cached_property
    def image(self) -> Image.Image:
        """The image in RGB.

        Raises:
            ScopeError: the image cannot be opened; the message names the example.
        """
        try:
            return upright_rgb(self.example.image(), f"the image of example '{self.example.id}'")
        except ScopeError:
            raise
        except Exception as error:  # Pillow raises many kinds on damaged files, and third-party tasks may raise any
            raise TaskError(
                f"the image of example '{self.example.id}' cannot be opened: {type(error).__name__}: {error}"
            ) from error

    @cached_property
    def asked(self) -> str:
        """A hash of the questions and objects; kept rows with another hash are not used."""
        return digest([[vars(q) for q in self.example.questions], [vars(box) for box in self.example.objects]])

    @property
    def group(self) -> str:
        """The cluster of the scene, for intervals."""
        return self.example.group or self.example.id

    def shares(self, tokens: VisualTokens) -> Tensor | None:
        """(objects, N) share of each token's patch that an object's box covers.

        None if no objects are known, if the tower's view of images is unknown, or if tokens are not a single grid.
        """
        boxes = self.example.objects
        row, col = tokens.row[0].cpu(), tokens.col[0].cpu()
        grid = int(row.max()) + 1, int(col.max()) + 1
        if not boxes or self.view is None or tokens.shape[0] != 1 or len(row) != grid[0] * grid[1] or row.min() < 0:
            return None
        planes = []
        for start in range(0, len(boxes), 3):  # three boxes per image, one in each channel
            channels = [Image.new("L", self.image.size) for _ in range(3)]
            for channel, box in zip(channels, boxes[start : start + 3], strict=False):
                ImageDraw.Draw(channel).rectangle((box.x0, box.y0, box.x1 - 1, box.y1 - 1), fill=255)
            view = self.view(Image.merge("RGB", channels))
            if isinstance(view, list):  # tiles
                return None
            seen = view.resize((grid[1], grid[0]), Image.Resampling.BOX)
            planes.append(torch.frombuffer(bytearray(seen.tobytes()), dtype=torch.uint8).view(*grid, 3))
        share = torch.cat(planes, 2).permute(2, 0, 1)[: len(boxes)].float() / 255
        return share[:, row, col]
