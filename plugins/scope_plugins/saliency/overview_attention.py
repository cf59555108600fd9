"""Another saliency of the overview, carried over to the tiles."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores
from scope_plugins._overview import CANVAS, overviews, sampled


class OverviewAttentionSpec(ComponentSpec):
    """Another source, read on the overview of each image and interpolated to its tiles."""

    name: Literal["overview_attention"] = "overview_attention"
    of: Annotated[ComponentSpec, Slot("saliency")] = "cls_attention"  # type: ignore[assignment]  # a part's bare name
    """The source."""


class OverviewAttention(SaliencySource[OverviewAttentionSpec]):
    """The tokens of a tile that matter to the whole image, not only to their tile.

    Use it beside the tile's own attention on models that read an overview and tiles, such as LLaVA-NeXT: a tile that
    shows only background has a most salient token too.

    A token of a tile gets the overview's score at its place on the image, bilinear between the overview's tokens; a
    token of the overview its own. An image of one tile is its own overview: the source's scores.
    Source: GlobalCom2, arXiv 2501.05179.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The places of tiles, beside what the source reads."""
        return frozenset({CANVAS})

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # that of the source
        """True if the source's scores are."""
        return bool(self.parts["of"].nonnegative)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in the range of the source.

        Raises:
            TokensError: an image has tiles, but no overview.
        """
        score = scores(self.parts["of"], tokens).clone()
        own = score.clone()
        for found in overviews(self, tokens):
            cells = found.grid(own[found.group])
            score[found.group, found.tiled] = sampled(cells, found.place, found.size).to(score)
        return score
