"""Tokens of images in which some rows merge patches: everything that tokens carry goes through the packing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.adapters.packing import Packing
from scope_core import VisualTokens
from scope_core.parts import parse_signal

_BY_HEAD = ("vision.cls_attention", "vision.received_attention", "vision.keys")
"""Signals whose second axis is the heads; that of the others is the tokens."""


def merged_tokens(
    tiles: VisualTokens, packings: Sequence[Packing], pack: Callable[[Tensor], Sequence[Tensor]]
) -> VisualTokens:
    """Tokens, one group per image, where some rows merge patches.

    Args:
        tiles: Tokens, one group per tile.
        packings: Packing of each image.
        pack: The model's own packing, (T, n, C) values of all tiles -> (R_i, C) per image.
    """

    def packed(tensor: Tensor) -> Tensor:
        rows = pack(tensor.reshape(*tensor.shape[:2], -1))
        each = [row[packing.places.to(row.device)] for row, packing in zip(rows, packings, strict=True)]
        joined = pad_sequence(each, True)
        return joined.view(*joined.shape[:2], *tensor.shape[2:])

    def plane(of_each: Sequence[Tensor]) -> Tensor:
        return pad_sequence(list(of_each), True, -1).to(tiles.device)

    cells = [_cells(packing, tiles) for packing in packings]
    tile = plane([torch.arange(len(p.tiles)).repeat_interleave(torch.tensor(p.tiles)) for p in packings])
    return VisualTokens.of(
        packed(tiles.features),
        valid=tile >= 0,
        row=plane([row for row, _ in cells]),
        col=plane([col for _, col in cells]),
        tile=tile,
        signals=tiles.signals.map(partial(over_tokens, packed)),
    )


def over_tokens(change: Callable[[Tensor], Tensor], name: str, signal: Tensor) -> Tensor:
    """A signal whose tokens were changed by ``(B, N, ...) -> (B', N', ...)``."""
    axis = 2 if parse_signal(name)[0] in _BY_HEAD else 1
    return change(signal.movedim(axis, 1)).movedim(1, axis)


def _cells(packing: Packing, tiles: VisualTokens) -> tuple[Tensor, Tensor]:
    """(N,) rows and columns: of the patch in its tile, or of the token in the interpolated image."""
    row, col = tiles.row[0].cpu(), tiles.col[0].cpu()
    if not packing.merged:
        return row[packing.source % len(row)], col[packing.source % len(row)]
    beyond = packing.places[len(row) :]
    line = packing.newline.cumsum(0)[beyond]
    first = torch.cat([beyond[:1], beyond[1:][line.diff() > 0]])
    return torch.cat([row, line]), torch.cat([col, beyond - first[line]])
