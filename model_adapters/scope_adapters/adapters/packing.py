"""Rows of packed tiles: which are newlines, which patch each of the others shows, and which newlines stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_adapters.towers.canvas import CANVAS
from scope_core import AdapterError, Layout, VisualTokens
from scope_core.adapters import Schedule
from scope_core.parts import ImageLayout


@dataclass(frozen=True)
class Packing:
    """The packed rows of one image, and the patches that they came from.

    Attributes:
        newline: (R,) bool: rows that are newline tokens.
        places: (N,) int64 row of each candidate, tile by tile, the overview tile first.
        source: (N,) int64 number of each candidate's patch, tile * n + patch; -1 where a row merges several patches.
        tiles: Number of candidates of each tile. Rows that merge patches count as one tile.
        patches: Number of patches of all tiles, padding included.
    """

    newline: Tensor
    places: Tensor
    source: Tensor
    tiles: tuple[int, ...]
    patches: int

    @classmethod
    def of(cls, rows: Tensor, check: Tensor, tiles: int) -> Packing:
        """From patch numbers that went through the packing.

        Args:
            rows: (R, 2) packed patch numbers and packed ``check``, -1 for newlines.
            check: (tiles * n,) a random number for each patch; a row that does not hold both exactly merges patches.
            tiles: Number of tiles, the overview first.
        """
        newline = rows[:, 0] < 0
        places = (~newline).nonzero().flatten()
        source = rows[places, 0].long()
        if bool((rows[places, 0] == source).all() and (rows[places, 1] == check[source]).all()):
            order = source.argsort()
            per_tile = (source // (len(check) // tiles)).bincount(minlength=tiles)
            return cls(newline, places[order], source[order], tuple(per_tile.tolist()), len(check))
        overview = len(check) // tiles
        source[overview:] = -1
        return cls(newline, places, source, (overview, len(places) - overview), len(check))

    @property
    def merged(self) -> bool:
        """True if some rows merge several patches."""
        return bool((self.source < 0).any())

    def canvas(self) -> Tensor:
        """(N, 4) row and column of each candidate on the image put together of its tiles, and that image's size.

        Four zeros for candidates of the overview, and of an image of one tile. Every row of the image ends with a
        newline token.
        """
        found = torch.zeros(len(self.places), 4)
        beyond = torch.arange(len(self.places)) >= self.tiles[0]
        if not bool(beyond.any()):
            return found
        places = self.places[beyond]
        ordered, order = places.sort()
        line = torch.unique(self.newline.cumsum(0)[ordered], return_inverse=True)[1]
        width = line.bincount()
        col = torch.arange(len(ordered)) - (width.cumsum(0) - width)[line]
        size = torch.stack([line.max() + 1, width.max()]).expand(len(ordered), 2)
        rows = torch.empty(len(ordered), 4)
        rows[order] = torch.cat([line[:, None], col[:, None], size], 1).float()
        found[beyond] = rows
        return found

    def among(self, patches: Tensor) -> Packing:
        """The same rows, with only ``patches`` (M,) as candidates."""
        count = self.patches // len(self.tiles)
        tiles = tuple((patches // count).bincount(minlength=len(self.tiles)).tolist())
        return replace(self, places=self.places[patches], source=patches, tiles=tiles)

    def ended_by(self, kept: Tensor) -> Tensor:
        """(R,) bool: newlines at the end of a row with at least one kept token; the overview tile has no newlines.

        Args:
            kept: (R,) bool.
        """
        row = self.newline.cumsum(0) - self.newline.long()
        overview = self.tiles[0] if len(self.tiles) > 1 else 0
        tiled = kept & ~self.newline & (torch.arange(len(kept)) >= overview)
        alive = row.new_zeros(int(row.max()) + 1).index_add(0, row, tiled.long())
        return self.newline & (alive[row] > 0)


def layout_from(packings: Sequence[Packing], prompts: Sequence[int], newlines: str) -> Layout:
    """The tiles as packed, and the number of newlines that stay if every candidate does."""
    kept = [0 if newlines == "drop" else int(packing.newline.sum()) for packing in packings]
    return Layout(
        tuple(
            ImageLayout(packing.tiles, prompt, count, packing.patches)
            for packing, prompt, count in zip(packings, prompts, kept, strict=True)
        )
    )


def separators(packings: Sequence[Packing], newlines: str) -> Callable[[int, Tensor], Tensor]:
    """A function ``(image, kept) -> (R,) bool``: the newlines that stay, as ``newlines`` asks."""

    def stay(image: int, kept: Tensor) -> Tensor:
        packing = packings[image]
        if newlines == "keep_if_row_kept":
            return packing.ended_by(kept.cpu()).to(kept.device)
        newline = packing.newline.to(kept.device)
        return newline if newlines == "keep" else newline & False

    return stay


def check_order(pruner: Schedule, newlines: str, adapter: str) -> None:
    """Refuse an order in which kept tokens leave their rows while newline tokens between the rows stay.

    Raises:
        AdapterError: names the order and the two remedies.
    """
    order = pruner.spec.order
    if order != "raster" and newlines != "drop":
        raise AdapterError(
            f"{pruner.label}: with `order: {order}` kept tokens leave their rows, but the newline tokens between the "
            f"rows stay; drop them with `adapter: {{name: {adapter}, newlines: drop}}`, or set `order: raster`"
        )


def numbered(tokens: VisualTokens, counts: Sequence[int]) -> VisualTokens:
    """Tokens, one group per tile, with the numbers of their image and of their tile within the image."""
    image = torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])
    tile = torch.cat([torch.arange(count) for count in counts])
    shape = tokens.shape[:2]
    return replace(
        tokens,
        image=image.to(tokens.device)[:, None].expand(shape),
        tile=tile.to(tokens.device)[:, None].expand(shape),
    )


def on_canvas(tokens: VisualTokens, canvases: Sequence[Tensor]) -> VisualTokens:
    """The tokens, one group per image, with the signal `CANVAS` from that of each image's candidates."""
    canvas = pad_sequence(list(canvases), True).to(tokens.device)
    return replace(tokens, signals=tokens.signals.beside({CANVAS: canvas}))
