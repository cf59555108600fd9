"""Some tokens with their neighbours in the grid, then others by another selector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
        free = replace(tokens, required=torch.zeros_like(tokens.required))
        wanted = [round(count * self.spec.share / (1 + len(SIDES))) for count in keep]
        anchors = self.parts["anchors"].select(free, wanted)
        taken: list[list[tuple[int, int]]] = []  # (token, index of its anchor) in order
        for group, count in enumerate(keep):
            found = [(token, i) for i, token in enumerate(anchors.picks[group].tolist()) if token >= 0]
            order = dict(reversed(found))
            for row, col in SIDES:
                for token, i in found:
                    near = self._neighbour(tokens, group, token, row, col)
                    if near is not None:
                        order.setdefault(near, i)
            required = set((tokens.required[group] & tokens.valid[group]).nonzero().flatten().tolist())
            chosen = [token for token, _ in found] + [token for token in order if token not in dict(found)]
            while len(required.union(chosen)) > count:
                chosen.pop()
            taken.append([(token, order[token]) for token in chosen])
        mask = torch.zeros_like(tokens.valid)
        for group, pairs in enumerate(taken):
            mask[group, [token for token, _ in pairs]] = True
        left = [count - len(pairs) for count, pairs in zip(keep, taken, strict=True)]
        others = self.parts["rest"].select(tokens.without(mask), left)

        def joined(name: str, fill: float) -> Tensor:
            rows = []
            for group, pairs in enumerate(taken):
                value = getattr(anchors, name)[group]
                first = [token if name == "picks" else value[i] for token, i in pairs]
                rest = getattr(others, name)[group][others.picks[group] >= 0]
                rows.append(torch.cat([torch.as_tensor(first, dtype=value.dtype, device=value.device), rest]))
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

        return Selection(joined("picks", -1), joined("gains", torch.nan), joined("scores", torch.nan), tokens)

    def _neighbour(self, tokens: VisualTokens, group: int, token: int, row: int, col: int) -> int | None:
        """The token ``row`` below and ``col`` right of ``token`` in its tile; None outside the tile."""
        if int(tokens.row[group, token]) < 0:
            return None
        valid, image, tile = tokens.valid[group], tokens.image[group], tokens.tile[group]
        same = valid & (image == image[token]) & (tile == tile[token])
        if self.spec.wrap:
            members = same.nonzero().flatten()
            position = int((members < token).sum()) + row * (int(tokens.col[group][same].max()) + 1) + col
            return int(members[min(max(position, 0), len(members) - 1)])
        at = (tokens.row[group] == tokens.row[group, token] + row) & (
            tokens.col[group] == tokens.col[group, token] + col
        )
        found = (same & at).nonzero().flatten().tolist()
        return found[0] if found else None
