"""The places of a blank image's tokens, found by looking which token moves when a part of its pixels changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_SHARE = 0.02
"""Share of attention's outputs that remains while places are looked for."""
Encode = Callable[[Mapping[str, Any]], Sequence[Tensor]]


@dataclass(frozen=True)
class Grid:
    """The tokens of one image, row by row.

    Attributes:
        size: (rows, columns).
        blocks: True if pixels come as patches, those of one token side by side.
    """

    size: tuple[int, int]
    blocks: bool = False

    def trials(self) -> list[tuple[int, int]]:
        """Places to look at: the corners, and one inside."""
        height, width = self.size
        corners = {(0, 0), (0, width - 1), (height - 1, 0), (height - 1, width - 1)}
        return sorted({*corners, (height // 3, width // 2)})


def grid_of(images: Mapping[str, Any], encode: Encode) -> Grid | None:
    """The grid of one image's tokens, if changed pixels were seen to move the token of their place most.

    Corners and one place inside are tried. None if the image has several items, its tokens form no grid, or another
    token moves more: then nothing is known of places.

    Args:
        images: Arguments of ``get_image_features`` for one blank image.
        encode: ``arguments -> rows of each item``.
    """
    rows = encode(images)
    if len(rows) != 1:
        return None
    for grid, change in _readings(images, len(rows[0])):
        tried = grid.trials()
        moved = [one for row, col in tried if (one := _moved(rows[0], encode(change(row, col))[0])) is not None]
        if len(moved) == len(tried) and moved_most(moved) == [row * grid.size[1] + col for row, col in tried]:
            return grid
    return None


def moved_most(changes: Sequence[Tensor]) -> list[int]:
    """The token that each change of pixels moves most.

    Some tokens move whatever changes: a token's own place is the one at which it moves more than elsewhere.

    Args:
        changes: (N,) float64 change of each token, for each change of pixels.
    """
    change_of = torch.stack(list(changes))
    own = change_of.square() / change_of.mean(0).clamp(min=torch.finfo(change_of.dtype).tiny)
    found: list[int] = own.argmax(1).tolist()
    return found


def patches_at(grid: Grid, side: int, row: int, col: int) -> Tensor:
    """(side * side,) int64 the packed patches of one image's token at a place."""
    rows, cols = grid.size
    if grid.blocks:
        return torch.arange((row * cols + col) * side**2, (row * cols + col + 1) * side**2)
    numbers = torch.arange(rows * cols * side**2).view(rows * side, cols * side)
    return numbers[row * side : (row + 1) * side, col * side : (col + 1) * side].flatten()


@contextmanager
def separate(base: Any) -> Iterator[None]:
    """Let tokens of the tower hardly read each other: outputs of attention are scaled down. Every hook is removed."""
    hooks = []
    for module in base.modules():
        named = [one for one in module.modules() if "attention" in type(one).__name__.lower()]
        if named == [module]:
            hooks.append(module.register_forward_hook(_weaker))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _weaker(_module: Any, _args: Any, output: Any) -> Any:
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
        return (output[0] * _SHARE, *output[1:])
    return output * _SHARE if isinstance(output, Tensor) and output.is_floating_point() else output


def _moved(before: Tensor, after: Tensor) -> Tensor | None:
    """(N,) float64: the change of each row; None if the rows are not as many, or not finite."""
    if before.shape != after.shape:
        return None
    change = (after.double() - before.double()).norm(dim=-1)
    return change if bool(change.isfinite().all()) else None


Change = Callable[[int, int], dict[str, Any]]


def _readings(images: Mapping[str, Any], count: int) -> Iterator[tuple[Grid, Change]]:
    """Each grid that the tokens may form, and ``(row, column) -> arguments`` with noise in the pixels of that place."""
    pixels, grid = images.get("pixel_values"), images.get("image_grid_thw")
    if not isinstance(pixels, Tensor):
        return
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0)).to(pixels)

    def changed(where: Any) -> dict[str, Any]:
        mixed = pixels.clone()
        mixed[where] = noise[where]
        return {**images, "pixel_values": mixed}

    if grid is not None:
        frames, height, width = grid[0].tolist()
        side = math.isqrt(height * width // count) if frames == 1 and count else 0
        if side and count * side**2 == height * width == len(pixels):
            for found in (Grid((height // side, width // side), blocks) for blocks in (True, False)):
                yield found, lambda row, col, found=found: changed(patches_at(found, side, row, col))  # type: ignore[misc]
    elif pixels.dim() >= 4 and pixels.shape[:-3].numel() == 1:
        height, width = pixels.shape[-2:]
        rows = math.isqrt(max(count * height // width, 0))
        if rows and count % rows == 0 and rows * width == count // rows * height:
            tall, wide = height // rows, width // (count // rows)
            yield (
                Grid((rows, count // rows)),
                lambda row, col: changed(
                    (..., slice(row * tall, (row + 1) * tall), slice(col * wide, (col + 1) * wide))
                ),
            )
