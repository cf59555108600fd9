"""Some tokens with their neighbours in the grid, then others by another selector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Selector, Slot

SIDES = ((0, -1), (0, 1), (-1, 0), (1, 0))


class ExpandSpec(ComponentSpec):
    """Anchors, their neighbours to the left, right, above and below, then others."""

    name: Literal["expand"] = "expand"
    anchors: Annotated[ComponentSpec, Slot("selector")]
    """The selector that picks the anchors."""
    rest: Annotated[ComponentSpec, Slot("selector")]
    """The selector that picks the other tokens, from those left."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the budget for anchors and neighbours together."""
    wrap: bool = False
    """Find neighbours by token index, as published code does: the end of a row is a neighbour of the start of the next,
    and an index beyond the tile's first or last token is that token."""


class Expand(Selector[ExpandSpec]):
    """Important tokens together with their surroundings, then others.

    Use it to keep the neighbourhood of objects that a few tokens point at, as HiPrune does.

    ``round(share K / 5)`` anchors (halves to even), each with its four neighbours in the tile's grid. Neighbours that
    coincide or lie outside leave their place to the rest; tokens without a grid have no neighbours. If required tokens
    need the room, anchors and neighbours are given up, the last first. Picks are anchors, then neighbours (with the
    anchor's gain and score), then the rest. Source: HiPrune, arXiv 2508.00553.
    """

    reads_places = True

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Anchors, neighbours and the rest of each group."""
        held = any(tokens.n_required)
        free = tokens.changed(required=torch.zeros_like(tokens.required)) if held else tokens
        wanted = [round(count * self.spec.share / (1 + len(SIDES))) for count in keep]
        anchors = self.parts["anchors"].select(free, wanted)
        taken: list[list[tuple[int, int]]] = []  # (token, index of its anchor) in order
        for group, count in enumerate(keep):
            found = [(token, i) for i, token in enumerate(anchors.picks[group].tolist()) if token >= 0]
            order = dict(reversed(found))
            for of_side in self._neighbours(tokens, group, anchors.picks[group, : len(found)]).tolist():
                for near, (_, i) in zip(of_side, found, strict=True):
                    if near >= 0:
                        order.setdefault(near, i)
            chosen = list(dict.fromkeys([token for token, _ in found] + list(order)))
            required = (tokens.required & tokens.valid)[group].nonzero().flatten().tolist() if held else ()
            while len({*required, *chosen}) > count:
                chosen.pop()
            taken.append([(token, order[token]) for token in chosen])
        mask = torch.zeros_like(tokens.valid)
        for group, pairs in enumerate(taken):
            mask[group, [token for token, _ in pairs]] = True
        left = [count - len(pairs) for count, pairs in zip(keep, taken, strict=True)]
        others = self.parts["rest"].select(tokens.without(mask), left)

        columns: list[tuple[Tensor, ...]] = []
        for group, (pairs, kept) in enumerate(zip(taken, others.counts, strict=True)):
            first, of = torch.tensor(pairs, dtype=torch.int64, device=tokens.device).view(-1, 2).unbind(1)
            before = first, anchors.gains[group, of], anchors.scores[group, of]
            rest = (column[group, :kept] for column in (others.picks, others.gains, others.scores))
            columns.append(tuple(map(torch.cat, zip(before, rest, strict=True))))
        picks, gains, distinct = (
            torch.nn.utils.rnn.pad_sequence(list(column), batch_first=True, padding_value=fill)
            for column, fill in zip(zip(*columns, strict=True), (-1, torch.nan, torch.nan), strict=True)
        )
        return Selection(picks, gains, distinct, tokens)

    def _neighbours(self, tokens: VisualTokens, group: int, anchors: Tensor) -> Tensor:
        """(4, A) the token on each side of each of (A,) anchors, in its tile; -1 outside the tile, and off the grid."""
        valid, image, tile, row, col = (
            plane[group] for plane in (tokens.valid, tokens.image, tokens.tile, tokens.row, tokens.col)
        )
        if self.spec.wrap:
            same = valid & (image == image[anchors, None]) & (tile == tile[anchors, None])
            down, right = torch.tensor(SIDES, device=row.device).T[..., None]
            index = torch.arange(len(row), device=row.device)
            columns = col.expand_as(same).masked_fill(~same, -1).amax(1) + 1
            place = (same & (index < anchors[:, None])).sum(1) + down * columns + right
            place = torch.minimum(place.clamp(min=0), same.sum(1) - 1)
            at = same & (same.cumsum(1) == place[..., None] + 1)
        else:  # one number for each place, of those beside the grid too
            tiles, height, width = (int(plane.max()) + 3 for plane in (tile, row, col))
            place = ((image * tiles + tile) * height + row) * width + col
            step = torch.tensor([[below * width + beside] for below, beside in SIDES], device=row.device)
            at = valid & (place == (place[anchors] + step)[..., None])
        near = at.to(torch.uint8).argmax(2)
        return near.masked_fill(~at.any(2) | (row[anchors] < 0), -1)
