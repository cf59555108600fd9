"""How many tokens a tile is worth, by what the overview attends to there."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores
from scope_plugins._overview import CANVAS, area_sums, overviews


class OverviewShareSpec(ComponentSpec):
    """A weight for each tile, the same for all of its tokens, by a source read on the overview."""

    name: Literal["overview_share"] = "overview_share"
    of: Annotated[ComponentSpec, Slot("saliency")] = "cls_attention"  # type: ignore[assignment]  # a part's bare name
    """The source."""
    temperature: Annotated[float, Field(gt=0)] = 0.1
    """Divisor of the tiles' shares of the overview's total in the softmax; low values favour the best tiles."""


class OverviewShare(SaliencySource[OverviewShareSpec]):
    """More tokens for the tiles that the overview attends to: a weight for each token of a tile.

    Use it in `frame_quota`, with ``of_piece: sum`` and ``curve: linear``: each tile then keeps its share of its tokens,
    and the overview the average one.

    ``w = 1 + softmax(S / temperature)_t - 1 / T`` for tokens of tile t of T, S the share of the overview's total score
    that lies on the area of the tile; 1 for tokens of the overview, and of images of one tile. An overview whose scores
    are all 0: 1 for all. Source: GlobalCom2, arXiv 2501.05179.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The places of tiles, beside what the source reads."""
        return frozenset({CANVAS})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2].

        Raises:
            TokensError: an image has tiles, but no overview; or a token of an overview has a negative score.
        """
        own = scores(self.parts["of"], tokens)
        weight = torch.ones_like(own)
        for found in overviews(self, tokens):
            cells = found.grid(own[found.group])
            given = own[found.group, found.index]
            if bool((given < 0).any()):
                raise TokensError(
                    f"saliency {self}: {self.parts['of']} gave "
                    f"{tokens.name_of(found.group, int(found.index[given.argmin()]))} the score "
                    f"{float(given.min()):.4g}; shares need a saliency that is not negative"
                )
            total = cells.sum()
            sums = area_sums(cells, found) / (total if float(total) else 1)
            share = 1 + (sums / self.spec.temperature).softmax(0) - 1 / len(sums)
            weight[found.group, found.tiled] = share[found.tile].to(weight)
        return weight
