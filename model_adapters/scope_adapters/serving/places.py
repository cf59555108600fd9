"""Places of rows, which travel as columns beside them: digits that every dtype of vLLM's caches holds exactly."""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 256
"""Base of the two digits of a number: bfloat16 holds whole numbers up to 256 only."""
AXES = 3
"""Numbers of a place: frame, row, column; of a position: time, row, column."""
DIGITS = 2 * AXES
"""Columns beside each row: the high digits of the three numbers, then the low ones."""
MOST = BASE**2 - 1
"""The largest number."""


def to_digits(places: Tensor) -> Tensor:
    """(N, `DIGITS`) from (N, `AXES`) whole numbers from 0 to `MOST`."""
    return torch.cat([places // BASE, places % BASE], -1)


def from_digits(digits: Tensor) -> Tensor:
    """(N, `AXES`) int64 whole numbers from their digits."""
    whole = digits.long()
    return whole[:, :AXES] * BASE + whole[:, AXES:]


def among(places: Tensor, ends: Tensor, texts: int, step: int) -> tuple[Tensor, Tensor]:
    """The order and the positions of a video's rows among text tokens, some before each frame and some after the last.

    A frame's tokens stand before the text token ``ends[frame]``. The text is numbered one by one, and a frame's tokens
    from where it stands, as if all of them were there.

    Args:
        places: (K, `AXES`) frame, row and column of each kept token.
        ends: (frames,) int64 number of the text token behind each frame, ascending.
        texts: Number of text tokens.
        step: Numbers that a frame takes: the larger of its rows and columns.

    Returns:
        (K + texts,) order of the kept tokens and, behind them, the text tokens; and (K + texts, `AXES`) positions in
        this order, from 0.
    """
    ends, text = ends.to(places.device), torch.arange(texts, device=places.device)
    frame = places[:, 0]
    begin = ends[frame] + frame * step
    moving = torch.stack([begin, begin + places[:, 1], begin + places[:, 2]], 1)
    resting = text + step * torch.searchsorted(ends, text, right=True)
    order = torch.cat([2 * ends[frame] - 1, 2 * text]).argsort(stable=True)
    return order, torch.cat([moving, resting[:, None].expand(-1, AXES)])[order]
