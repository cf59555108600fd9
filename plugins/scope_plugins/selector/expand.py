"""Some tokens with their neighbours in the grid, then the rest of the budget by another selector."""

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
    """Anchors, the tokens left, right, above and below each, then others."""

    name: Literal["expand"] = "expand"
    anchors: Annotated[ComponentSpec, Slot("selector")]
    """What picks the anchors."""
    rest: Annotated[ComponentSpec, Slot("selector")]
    """What picks the others, from what is left."""
    share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the budget for anchors and neighbours together."""
    wrap: bool = False
    """Count neighbours in token numbers, as published code does: the end of a row neighbours the start of the next, and
    numbers beyond the tile's first or last token mean that token."""


class Expand(Selector[ExpandSpec]):
    """``round(share K / 5)`` anchors, halves to even; each with its four neighbours in the tile's grid.

    Neighbours that coincide, or lie outside, leave their place to the rest. Tokens that carry no grid have no
    neighbours. Anchors and neighbours that leave no room for required tokens are given up, the last first.
    Picks are anchors, then neighbours (gain and score: the anchor's), then the rest. Source: HiPrune, arXiv 2508.00553.
    """

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Anchors, neighbours and the rest of each group."""
        free = replace(tokens, required=torch.zeros_like(tokens.required))
        wanted = [round(count * self.spec.share / (1 + len(SIDES))) for count in keep]
        anchors = self.parts["anchors"].select(free, wanted)
        taken: list[list[tuple[int, int]]] = []  # (token, which anchor it came with) in order
        for group, count in enumerate(keep):
            found = [(token, i) for i, token in enumerate(anchors.picks[group].tolist()) if token >= 0]
            order = dict(reversed(found))
            for row, col in SIDES:
                for token, i in found:
                    near = self._neighbour(tokens, group, token, row, col)
                    if near is not None:
                        order.setdefault(near, i)
            must = set((tokens.required[group] & tokens.valid[group]).nonzero().flatten().tolist())
            chosen = [token for token, _ in found] + [token for token in order if token not in dict(found)]
            while len(must.union(chosen)) > count:
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
                mine = [token if name == "picks" else value[i] for token, i in pairs]
                other = getattr(others, name)[group][others.picks[group] >= 0]
                rows.append(torch.cat([torch.as_tensor(mine, dtype=value.dtype, device=value.device), other]))
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

        return Selection(joined("picks", -1), joined("gains", torch.nan), joined("scores", torch.nan), tokens)

    def _neighbour(self, tokens: VisualTokens, group: int, token: int, row: int, col: int) -> int | None:
        """The token ``row`` below and ``col`` right of ``token`` in its tile; None where there is none."""
        if int(tokens.row[group, token]) < 0:
            return None
        valid, image, tile = tokens.valid[group], tokens.image[group], tokens.tile[group]
        same = valid & (image == image[token]) & (tile == tile[token])
        if self.spec.wrap:
            members = same.nonzero().flatten()
            here = int((members < token).sum()) + row * (int(tokens.col[group][same].max()) + 1) + col
            return int(members[min(max(here, 0), len(members) - 1)])
        at = (tokens.row[group] == tokens.row[group, token] + row) & (
            tokens.col[group] == tokens.col[group, token] + col
        )
        found = (same & at).nonzero().flatten().tolist()
        return found[0] if found else None
