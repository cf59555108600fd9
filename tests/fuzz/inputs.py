"""Random tokens: ragged batches, tiles, grids, prompts, signals, and features and saliency of many kinds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

import offers
import torch
from torch import Tensor

from scope_core import Layout, VisualTokens
from scope_core.structures.signals import FAMILIES, parse_signal

FEATURES = ("normal", "normal", "normal", "copies", "zeros", "whole", "opposite", "large", "small", "unit", "constant")
SALIENCY = ("random", "random", "zeros", "ties", "large", "small", "one", "signed")
HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Shape:
    """The images of a call: ``grids`` has (rows, columns) of each tile of each image; (0, n) is n without a grid."""

    grids: tuple[tuple[tuple[int, int], ...], ...]
    prompts: tuple[int, ...]
    width: int

    @property
    def tiles(self) -> list[list[int]]:
        return [[cols if rows == 0 else rows * cols for rows, cols in image] for image in self.grids]

    @property
    def sizes(self) -> list[int]:
        return [sum(image) for image in self.tiles]

    @property
    def layout(self) -> Layout:
        return Layout.of(self.tiles, prompts=self.prompts)

    def only(self, images: Iterable[int]) -> Shape:
        """Some of the images, in the given order."""
        chosen = list(images)
        return Shape(tuple(self.grids[i] for i in chosen), tuple(self.prompts[i] for i in chosen), self.width)


def shape(source: Random) -> Shape:
    """One to four images in one to three prompts."""
    flat = source.random() < 0.2
    images = []
    for _ in range(source.choice([1, 2, 3, 4])):
        tiles = [
            (0, source.randint(1, 12)) if flat else (source.randint(1, 4), source.randint(1, 5))
            for _ in range(source.choice([1, 1, 1, 2, 3]))
        ]
        images.append(tuple(tiles))
    prompts = sorted(source.randint(0, 2) for _ in images)
    return Shape(tuple(images), tuple(prompts), source.choice([8, 1, 3, 16]))


@dataclass(frozen=True)
class Given:
    """Tokens of a shape, and what they are like."""

    tokens: VisualTokens
    kind: str
    saliency: str

    @property
    def plain(self) -> bool:
        """True if numbers are neither degenerate nor of unusual size."""
        return self.kind == "normal" and self.saliency in ("", "random") and self.tokens.features.dtype not in HALF


def given(source: Random, like: Shape, needs: Iterable[str]) -> Given:
    """Tokens with all ``needs``; padding holds large numbers."""
    half = HALF if offers.halves else HALF[1:]
    dtype = source.choice([torch.float32] * 6 + [torch.float64, *half])
    kind, generator = source.choice(FEATURES), torch.Generator().manual_seed(source.getrandbits(32))
    sizes = torch.tensor(like.sizes)
    batch, count = len(sizes), int(sizes.max())
    valid = torch.arange(count) < sizes[:, None]
    features = vectors(kind, (batch, count, like.width), generator, dtype)
    features = features.masked_fill(~valid[..., None], 7e3).to(dtype)
    names, saliency = sorted(needs), ""
    weights: Tensor | None = None
    if source.random() < 0.4:
        saliency = source.choice(SALIENCY)
        weights = importance(saliency, (batch, count), generator, dtype).to(dtype)
    axes = {
        "B": batch,
        "N": count,
        "H": source.choice([1, 2, 4]),
        "M": source.choice([1, 5, 2]),
        "T": source.choice([1, 3]),
        "C": source.choice([4, 1]),
        "D": like.width,
        "F": count + source.choice([0, 3]),
    }
    signals = {name: signal(name, axes, generator).to(dtype) for name in names}
    if source.random() < 0.1 and weights is None:  # a caller may give more than is read
        signals["vision.cls_attention[-2]"] = signal("vision.cls_attention[-2]", axes, generator).to(dtype)
    planes = {name: torch.full((batch, count), fill) for name, fill in (("row", -1), ("col", -1), ("tile", 0))}
    for image, tiles in enumerate(like.grids):
        start = 0
        for tile, (rows, cols) in enumerate(tiles):
            stop = start + (rows * cols if rows else cols)
            planes["tile"][image, start:stop] = tile
            if rows:
                index = torch.arange(stop - start)
                planes["row"][image, start:stop], planes["col"][image, start:stop] = index // cols, index % cols
            start = stop
    tokens = VisualTokens.of(features, valid=valid, signals=signals, saliency=weights, **planes)
    return Given(tokens, kind, saliency)


def vectors(kind: str, size: tuple[int, int, int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """(B, N, D) features of a kind, in float64."""
    normal = torch.randn(size, generator=generator, dtype=torch.float64)
    half = dtype in HALF
    if kind == "copies":
        return normal[:, torch.randint(0, min(3, size[1]), (size[1],), generator=generator)]
    if kind == "zeros":
        return normal * (torch.rand(size[:2], generator=generator) < 0.7)[..., None]
    if kind == "whole":
        return normal.round()
    if kind == "opposite":
        return normal[:, :1] * (torch.arange(size[1]) % 2 * 2 - 1)[None, :, None]
    if kind == "large":
        return normal * (300.0 if half else 1e6)
    if kind == "small":
        return normal * (1e-2 if half else 1e-6)
    if kind == "unit":
        return torch.nn.functional.one_hot(torch.randint(0, size[2], size[:2], generator=generator), size[2]).double()
    if kind == "constant":
        return torch.ones(size, dtype=torch.float64)
    return normal


def importance(kind: str, size: tuple[int, int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """(B, N) saliency of a kind, in float64."""
    random = torch.rand(size, generator=generator, dtype=torch.float64) + 0.01
    if kind == "zeros":
        return torch.zeros_like(random)
    if kind == "ties":
        return (random * 3).round() / 3
    if kind == "large":
        return random * (1e3 if dtype in HALF else 1e8)
    if kind == "small":
        return random * (1e-3 if dtype in HALF else 1e-8)
    if kind == "one":
        return (torch.arange(size[1]) == size[1] // 2).double().expand(size).clone()
    return random - 0.5 if kind == "signed" else random


def signal(name: str, axes: dict[str, int], generator: torch.Generator) -> Tensor:
    """A signal as a model would give it."""
    tensor = torch.randn([axes[axis] for axis in FAMILIES[parse_signal(name)[0]].split()], generator=generator)
    if "attention" in name:
        return tensor.softmax(-1)
    return tensor.tanh() if "similarity" in name else tensor
