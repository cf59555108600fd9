"""Small examples on which parts are tried: a few groups of tokens, with every signal that a part reads."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from scope_core.errors import SignalError, listed
from scope_core.structures.layout import ImageLayout, Layout
from scope_core.structures.signals import FAMILIES, parse_signal, token_axis
from scope_core.structures.tokens import VisualTokens

Tile = tuple[int, int]
MakeSignal = str | Callable[[VisualTokens], Tensor]
"""The axes of a family of signals (``"B H N"``, as signals are declared; normal numbers), or a function that makes the
signal of given tokens."""

RANK = "testing.rank"
"""A signal of the kit, (B, N): distinct numbers in (0, 1), which say which tokens are picked."""

SIZES = {"H": 2, "C": 3, "M": 3, "T": 2}


@dataclass(frozen=True)
class Case:
    """An example on which a part is tried. Equal cases have equal numbers.

    Attributes:
        groups: For each group, (rows, columns) of each of its tiles.
        seed: Seed of the numbers.
        like: ``"plain"``: normal numbers. ``"twins"``: every token twice. ``"zero"``: the first token is a zero vector.
        frames: True if the tiles are images of one prompt that are selected together.
        video: True if the tiles are frames of one video.
        dtype: Type of features and signals.
        width: D, the width of features.
    """

    groups: tuple[tuple[Tile, ...], ...] = (((2, 3),),)
    seed: int = 0
    like: Literal["plain", "twins", "zero"] = "plain"
    frames: bool = False
    video: bool = False
    dtype: torch.dtype = torch.float64
    width: int = 4

    @property
    def sizes(self) -> tuple[int, ...]:
        """Tokens of each group."""
        return tuple(sum(map(math.prod, tiles)) for tiles in self.groups)

    @property
    def layout(self) -> Layout:
        """Images and tiles; one prompt per group."""
        images: list[ImageLayout] = []
        for prompt, tiles in enumerate(self.groups):
            counts = tuple(map(math.prod, tiles))
            frames = (1,) * len(counts) if self.video else ()
            one = ImageLayout(counts, prompt, frames=frames)
            images += [ImageLayout((n,), prompt) for n in counts] if self.frames else [one]
        return Layout(tuple(images))

    def tokens(self, needs: Iterable[str] = (), signals: Mapping[str, MakeSignal] | None = None) -> VisualTokens:
        """The tokens, groups padded to one N; padding is zero.

        Args:
            needs: Signals to generate.
            signals: ``{family: how to make it}`` for families that are not in `scope_core.structures.signals`.
        """
        places = [
            (group, row, col, 0 if self.frames else tile, tile if self.frames else 0)
            for group, tiles in enumerate(self.groups)
            for tile, (rows, cols) in enumerate(tiles)
            for row in range(rows)
            for col in range(cols)
        ]
        first = [sum(map(len, self.groups[:group])) if self.frames else group for group in range(len(self.groups))]
        planes = torch.full((4, len(self.groups), max(self.sizes)), -1, dtype=torch.int64)
        filled = [0] * len(self.groups)
        for group, row, col, tile, frame in places:
            planes[:, group, filled[group]] = torch.tensor([row, col, tile, first[group] + frame])
            filled[group] += 1
        row, col, tile, image = planes
        bare = VisualTokens.of(
            self._padded([self._features(group) for group in range(len(self.groups))]),
            valid=row >= 0,
            row=row,
            col=col,
            tile=tile,
            image=image,
            frame=tile if self.video else None,
        )
        made = {RANK: self._padded([self._ranks(group) for group in range(len(self.groups))])}
        for name in sorted(set(needs)):
            made[name] = self._signal(name, bare, signals or {})
        return replace(bare, signals=bare.signals.beside(made))

    def _features(self, group: int) -> Tensor:
        count = self.sizes[group]
        features = self._normal(group, "features", count, self.width)
        if self.like == "twins":
            half = count // 2
            features[count - half :] = features[:half]
        if self.like == "zero":
            features[0] = 0
        return features

    def _ranks(self, group: int) -> Tensor:
        order = torch.randperm(self.sizes[group], generator=self._generator(group, RANK))
        return (order + 1).double() / (len(order) + 1)

    def _signal(self, name: str, tokens: VisualTokens, more: Mapping[str, MakeSignal]) -> Tensor:
        family, _ = parse_signal(name)
        how = more.get(name, more.get(family, FAMILIES.get(family)))
        if how is None:
            raise SignalError(
                f"the kit cannot generate signal '{name}'; say how, e.g. signals={{'{family}': 'B N'}}. "
                f"It knows: {listed(FAMILIES)}"
            )
        if not isinstance(how, str):
            return how(tokens).to(self.dtype)
        axes = how.split()[1:]
        return self._padded([self._of_group(name, family, axes, tokens, group) for group in range(len(self.groups))])

    def _of_group(self, name: str, family: str, axes: list[str], tokens: VisualTokens, group: int) -> Tensor:
        count = self.sizes[group]
        if family == "vision.canvas":
            return _canvas(*(plane[group, :count] for plane in (tokens.tile, tokens.row, tokens.col)))
        sizes = {**SIZES, "D": self.width, "N": count, "F": count}
        made = self._normal(group, name, *(sizes[axis] for axis in axes))
        if "attention" in family:  # over all keys, one of which is not a visual token: positive, sums below 1
            made = torch.cat([made, made[..., :1] * 0], -1).softmax(-1)[..., :-1]
        if "similarity" in family:
            made = made.tanh()
        if family == "vision.cls":  # one vector for all tokens of a tile
            tile = tokens.tile[group, :count] + tokens.image[group, :count]
            made = made[(tile[:, None] == tile).int().argmax(1)]
        if (
            self.like == "zero" and axes[-1] in "DC" and "N" in axes and family != "vision.cls"
        ):  # the zero vector is one in every space
            made.select(axes.index("N"), 0).zero_()
        for axis, letter in enumerate(axes):
            if group % 2 and letter in "MT":  # a shorter text
                made.select(axis, -1).zero_()
        return made

    def _padded(self, rows: list[Tensor]) -> Tensor:
        most = [max(sizes) for sizes in zip(*(row.shape for row in rows), strict=True)]
        made = torch.zeros(len(rows), *most, dtype=torch.float64)
        for line, row in zip(made, rows, strict=True):
            line[tuple(slice(size) for size in row.shape)] = row
        return made.to(self.dtype)

    def _generator(self, group: int, name: str) -> torch.Generator:
        return torch.Generator().manual_seed(zlib.crc32(f"{self.seed}/{group}/{name}".encode()))

    def _normal(self, group: int, name: str, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator(group, name), dtype=torch.float64)


def _canvas(tile: Tensor, row: Tensor, col: Tensor) -> Tensor:
    """(N, 4) where tokens lie on an image of which tile 0 is the overview and the others lie side by side."""
    places = torch.zeros(len(tile), 4, dtype=torch.float64)
    beyond, rows, cols = tile > 0, row.max() + 1, col.max() + 1
    size = torch.stack([rows, cols * tile.max()]).expand(len(tile), 2)
    places[beyond] = torch.cat([row[:, None], (col + (tile - 1) * cols)[:, None], size], 1)[beyond].double()
    return places


RICH = (
    Case(groups=(((2, 3),), ((1, 3), (1, 3)), ((1, 1),))),
    Case(groups=(((3, 3), (2, 2)), ((2, 2),)), seed=1, frames=True),
    Case(groups=(((2, 4),), ((1, 3),)), seed=2, like="twins"),
    Case(groups=(((3, 2),), ((1, 1),)), seed=3, like="zero"),
    Case(groups=(((1, 1),),), seed=4),
    Case(groups=(((1, 2), (1, 2), (1, 2)), ((2, 2),)), seed=6, video=True),
)
"""The first examples: groups of several sizes, one of a single token, tiles, frames, equal tokens, a zero vector, and
videos."""

LARGE = Case(groups=(((6, 9),), ((5, 5),)), seed=5, like="twins", width=16)
"""Enough tokens to exceed vector registers, short lists and the tails of unrolled loops."""


def taken(tokens: VisualTokens, rows: list[list[int]]) -> VisualTokens:
    """The same tokens in other groups; ``rows`` holds flat indices into (B * N), shorter rows are padded."""
    most = max(map(len, rows))
    return tokens.regroup(torch.tensor([row + [-1] * (most - len(row)) for row in rows]))


def places(tokens: VisualTokens, group: int) -> list[int]:
    """Flat indices of a group's valid tokens."""
    return [group * tokens.shape[1] + int(i) for i in tokens.valid[group].nonzero().flatten()]


def noisy(tokens: VisualTokens, value: float) -> VisualTokens:
    """The same tokens with ``value`` in features and signals of padding."""
    gone = ~tokens.valid

    def filled(name: str, tensor: Tensor) -> Tensor:
        axis = token_axis(name, tuple(tensor.shape), *tokens.shape[:2])
        if axis is None:
            return tensor
        moved = tensor.movedim(axis, 1)
        mask = gone.view(*gone.shape, *[1] * (moved.dim() - 2))
        return moved.masked_fill(mask, value).movedim(1, axis)

    return replace(
        tokens,
        features=tokens.features.masked_fill(gone[..., None], value),
        signals=tokens.signals.map(filled),
    )
