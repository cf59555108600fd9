"""The pixels in a call's arguments, and the region of them that a candidate token claims to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, TypeAlias

import torch
from torch import Tensor

Path: TypeAlias = tuple[str | int, ...]
Claim: TypeAlias = tuple[int, int, int, int]
"""Image, tile, row and column of a token."""


@dataclass(frozen=True)
class Region:
    """Some pixels of a call.

    Attributes:
        path: The argument, and the places in lists inside it.
        where: Index into the tensor there, flattened as `flat` does it.
        about: In words, for messages.
    """

    path: Path
    where: tuple[int | slice, ...]
    about: str

    def changed(self, inputs: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """The arguments with noise instead of these pixels."""
        name = str(self.path[0])
        return {**inputs, name: _replaced(inputs[name], self.path[1:], self.where, seed)}


@dataclass(frozen=True)
class Slab:
    """The pixels of one tile, (channels, height, width).

    Attributes:
        path: As for `Region`.
        number: Place in the flattened tensor.
        size: (height, width) without padding.
    """

    path: Path
    number: int
    size: tuple[int, int]

    def part(self, top: float, bottom: float, left: float, right: float) -> Region:
        """Pixels between shares of the height and of the width."""
        rows, cols = (
            slice(min(round(first * side), side - 1), max(round(last * side), round(first * side) + 1))
            for side, first, last in zip(self.size, (top, left), (bottom, right), strict=True)
        )
        name = "".join(f"[{key}]" if number else str(key) for number, key in enumerate(self.path))
        about = f"pixels {rows.start}:{rows.stop}, {cols.start}:{cols.stop} of tile {self.number} of {name}"
        return Region(self.path, (self.number, slice(None), rows, cols), about)


def slabs_of(inputs: Mapping[str, Any]) -> list[Slab]:
    """Every tile's pixels, in the order of the call; empty tiles, which fill up shorter rows, are left out."""
    made: list[Slab] = []
    for path, tensor in _leaves(inputs):
        if tensor.dim() < (3 if len(path) > 1 else 4):
            continue
        if made and path[0] != made[0].path[0]:
            break  # a second size of the same images
        sizes = _sizes(inputs, tensor) if len(path) == 1 else None
        for number, tile in enumerate(flat(tensor)):
            if bool((tile != 0).any()):
                size = tuple(tensor.shape[-2:]) if sizes is None else sizes[number]
                made.append(Slab(path, number, (int(size[0]), int(size[1]))))
    return made


def patches_of(inputs: Mapping[str, Any], claims: Sequence[Claim]) -> list[Region] | None:
    """The region of each token where a tensor holds the patches of all images, those of a token side by side.

    None if there is no such tensor with an integer tensor of its images' (frames, rows, columns) or (rows, columns).
    """
    grids = [
        value for value in inputs.values() if isinstance(value, Tensor) and value.dim() == 2 and _whole(value, (2, 3))
    ]
    for path, tensor in _leaves(inputs):
        count = tensor.numel() // max(tensor.shape[-1], 1)
        for grid in grids if tensor.dim() in (2, 3) and len(path) == 1 else ():
            if int(grid.prod(-1).sum()) == count and len(claims) and count % len(claims) == 0:
                return _packed(path, grid.tolist(), count // len(claims), claims)
    return None


def _packed(path: Path, grids: Sequence[Sequence[int]], each: int, claims: Sequence[Claim]) -> list[Region]:
    starts, made = [0], []
    for grid in grids:
        starts.append(starts[-1] + int(torch.tensor(grid).prod()))
    for image, frame, row, col in claims:
        *_, rows, cols = grids[image]
        first = starts[image] + frame * rows * cols + (row * (cols // isqrt(each)) + col) * each
        made.append(Region(path, (slice(first, first + each),), f"rows {first}:{first + each} of {path[0]}"))
    return made


def flat(tensor: Tensor) -> Tensor:
    """(tiles, C, H, W), or (patches, values) of packed patches."""
    return tensor.reshape(-1, *tensor.shape[-3:]) if tensor.dim() > 2 else tensor


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(value, Tensor) and value.is_floating_point():
        yield path, value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, inner in items:
        yield from _leaves(inner, (*path, key))


def _sizes(inputs: Mapping[str, Any], tensor: Tensor) -> list[list[int]] | None:
    """(height, width) of each image in (images, C, H, W), if an integer tensor tells them; None without one."""
    if tensor.dim() != 4:
        return None
    whole = torch.tensor(tensor.shape[-2:])
    for value in inputs.values():
        if isinstance(value, Tensor) and value.shape == (len(tensor), 2) and _whole(value, (2,)):
            sizes = value.cpu()
            if bool((sizes > 0).all() and (sizes <= whole).all()):
                return [[int(side) for side in size] for size in sizes.tolist()]
    return None


def _whole(tensor: Tensor, widths: Sequence[int]) -> bool:
    return not tensor.is_floating_point() and tensor.dtype != torch.bool and tensor.shape[-1] in widths


def _replaced(value: Any, path: Path, where: tuple[int | slice, ...], seed: int) -> Any:
    if path:
        items = list(value)
        items[int(path[0])] = _replaced(items[int(path[0])], path[1:], where, seed)
        return items
    made = value.clone()
    view = made.view(-1, made.shape[-1]) if len(where) == 1 else made.view(-1, *made.shape[-3:])
    noise = torch.randn(view[where].shape, generator=torch.Generator().manual_seed(seed))
    view[where] = (noise * float(value.float().std())).to(value)
    return made
