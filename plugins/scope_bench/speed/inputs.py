"""Features to select from: of images through a tower, or smooth random fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import torch
from PIL import Image
from torch import Tensor

from scope_core import TokensError
from scope_core.adapters import Tower


@dataclass(frozen=True, eq=False)
class Material:
    """Tokens to select from.

    Attributes:
        about: Their origin, for the head of a report.
        features: (M, D) float32.
        saliency: (M,) at least 0.
    """

    about: str
    features: Tensor
    saliency: Tensor

    def cut(self, tokens: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """(1, N, D) features and (1, N) saliency of the first tokens.

        Raises:
            TokensError: there are fewer tokens.
        """
        if tokens > len(self.features):
            raise TokensError(f"{self.about} give {len(self.features)} tokens, but {tokens} are needed")
        return (
            self.features[None, :tokens].to(device, dtype).contiguous(),
            self.saliency[None, :tokens].to(device, dtype).contiguous(),
        )


def smooth(tokens: int, width: int, seed: int = 0) -> Material:
    """Random features in which neighbours are alike, as in images: a coarse field and noise.

    Args:
        tokens: Number of tokens.
        width: Width of the features.
        seed: Seed of the draw.
    """
    generator = torch.Generator().manual_seed(seed)
    side = ceil(tokens**0.5)
    coarse = torch.randn(1, width, max(side // 4, 2), max(side // 4, 2), generator=generator)
    field = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=True)
    features = field[0].flatten(1).T[:tokens] + 0.3 * torch.randn(tokens, width, generator=generator)
    saliency = torch.rand(tokens, generator=generator) ** 3 + 1e-3
    return Material(f"smooth random fields (seed {seed})", features, saliency)


def of_photographs(images: Sequence[Image.Image], tower: Tower, tokens: int, name: str) -> Material:
    """Features of whole images, and then of smaller and smaller crops, until there are enough.

    Saliency is the length of the features, scaled to at most 1, so that no signal has to be read.

    Args:
        images: Images.
        tower: The tower that encodes them.
        tokens: Number of tokens.
        name: Name of the tower.
    """
    (at, *_) = tower.declaration.points
    rows: list[Tensor] = []
    cuts = 1
    while sum(map(len, rows)) < tokens:
        for image in images:
            wide, high = image.width / cuts, image.height / cuts
            boxes = [(x * wide, y * high, (x + 1) * wide, (y + 1) * high) for y in range(cuts) for x in range(cuts)]
            for box in boxes:
                if sum(map(len, rows)) < tokens:
                    view = image.crop(box)
                    rows.append(tower.encode([view], at=at, needs=frozenset()).features[0].detach().float().cpu())
        cuts += 1
    features = torch.cat(rows)
    length = features.norm(dim=1)
    return Material(f"{len(images)} photographs through {name}", features, length / length.max())


def gradient() -> Image.Image:
    """A square image of gradients; its content does not affect the time of a model."""
    sides = [Image.linear_gradient("L").resize((672, 672)).rotate(90 * turn) for turn in range(3)]
    return Image.merge("RGB", sides)
