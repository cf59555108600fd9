"""Default planes of tokens: all valid, none required, and their places on a grid. The latest ones are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scope_core.errors import TokensError

_LARGEST = 2**16
"""Planes of more numbers are not kept."""
_MOST = 16
"""Kinds of planes that are kept."""
_kept: dict[tuple[int, ...], Planes] = {}


class Planes(NamedTuple):
    """(B, N) tensors.

    Attributes:
        valid: True everywhere.
        required: False everywhere.
        row: Row in the grid, -1 without one.
        col: Column in the grid, -1 without one.
        frame: Frame, 0 without any.
        image: Number of the group.
    """

    valid: Tensor
    required: Tensor
    row: Tensor
    col: Tensor
    frame: Tensor
    image: Tensor


def default_planes(shape: tuple[int, int], grid: Sequence[int] | None, device: torch.device) -> Planes:
    """The planes of tokens of which nothing else is known; calls of one shape share their tensors.

    Tensors that were written to since, which no part may do, are made anew.

    Args:
        shape: (B, N).
        grid: (rows, columns), or (frames, rows, columns); None for tokens without places.
        device: The device of the result.

    Raises:
        TokensError: the grid does not hold N tokens.
    """
    whole = grid is None or (isinstance(grid, (tuple, list)) and all(type(side) is int for side in grid))
    if device.type != "cpu" or not whole or math.prod(shape) > _LARGEST or _is_compiling():
        return _made(shape, grid, device)
    key = (*shape, *(grid or ()))
    found = _kept.get(key)
    if found is not None and not any(plane._version for plane in found):
        return found
    with torch.inference_mode(False):
        planes = _made(shape, grid, device)
    if all(type(plane) is Tensor for plane in planes):  # not those of a mode that imitates tensors
        while len(_kept) >= _MOST:
            _kept.pop(next(iter(_kept)), None)
        _kept[key] = planes
    return planes


def _is_compiling() -> bool:
    """True inside `torch.compile`, as far as the installed torch says so."""
    asked = getattr(getattr(torch, "compiler", None), "is_compiling", None)
    return asked is not None and asked()


def _made(shape: tuple[int, int], grid: Sequence[int] | None, device: torch.device) -> Planes:
    row, col, frame = on_grid(grid, shape, device)
    return Planes(
        valid=torch.ones_like(row, dtype=torch.bool),
        required=torch.zeros_like(row, dtype=torch.bool),
        row=row,
        col=col,
        frame=frame,
        image=torch.arange(shape[0], device=device).unsqueeze(1).expand(*shape),
    )


def on_grid(grid: Sequence[int] | None, shape: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """(B, N) row, column and frame of tokens on a grid, row by row; -1, -1 and 0 without one.

    Args:
        grid: (rows, columns), or (frames, rows, columns).
        shape: (B, N).
        device: The device of the result.

    Raises:
        TokensError: the grid does not hold N tokens.
    """
    if grid is None:
        none = torch.full(shape, -1, dtype=torch.int64, device=device)
        return none, none, torch.zeros_like(none)
    wrong = not isinstance(grid, Sequence) or isinstance(grid, str) or len(grid) not in (2, 3)
    if wrong or math.prod(grid) != shape[1] or min(grid) < 1:
        raise TokensError(
            f"grid {grid} does not hold N = {shape[1]} tokens; give (rows, columns), or (frames, rows, columns)"
        )
    rows, columns = grid[-2:]
    index = torch.arange(shape[1], device=device).expand(*shape)
    row, column = index.div(columns, rounding_mode="floor"), index % columns
    if len(grid) == 2:
        return row, column, torch.zeros_like(row)
    return row % rows, column, row.div(rows, rounding_mode="floor")
