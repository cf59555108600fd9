"""What moves in a video, and how much of it kept tokens cover."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core.structures.selection import Selection
    from scope_core.structures.tokens import VisualTokens

_ROWS = 2048
"""Tokens that are compared with all kept ones at once."""


def changed(tokens: VisualTokens, theta: float) -> Tensor | None:
    """(B, N) True for tokens of a video whose cosine to the token at their place one frame before is below ``theta``.

    None for images, and for videos whose frames are not all of one size.
    """
    count = int(tokens.frame.max()) + 1
    if count < 2 or tokens.padded or any(len(set(row.bincount().tolist())) > 1 for row in tokens.frame):
        return None
    batch, total, width = tokens.shape
    unit = replace(tokens, features=tokens.features.float()).unit().view(batch, count, -1, width)
    found = tokens.valid.view(batch, count, -1).clone()
    found[:, 0] = False
    found[:, 1:] = (unit[:, 1:] * unit[:, :-1]).sum(-1) < theta
    return found.view(batch, total)


def covered(selection: Selection, judged: VisualTokens, mask: Tensor, theta: float) -> list[float | None]:
    """The share of the tokens in ``mask`` (B, N) whose best cosine to a kept token is at least ``theta``.

    None without such tokens, and for all if the selection has other tokens than ``judged``.
    """
    if selection.tokens.valid.shape != judged.valid.shape:
        return [None] * len(selection.kept)
    unit = replace(judged, features=judged.features.float()).unit()
    shares: list[float | None] = []
    for row, kept, some in zip(unit, selection.mask, mask, strict=True):
        near = sum(int((part @ row[kept].T >= theta).any(1).sum()) for part in row[some].split(_ROWS))
        shares.append(near / int(some.sum()) if bool(some.any()) else None)
    return shares
