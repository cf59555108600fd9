"""`Partition`: which tokens are selected together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from scope_core.parts.base import Part, S
from scope_core.structures.layout import Group, ImageLayout, Layout, Span
from scope_core.structures.tokens import VisualTokens


class Partition(Part[S]):
    """The groups of tokens that are selected together: whole images, tiles, or others."""

    @abstractmethod
    def split(self, layout: Layout) -> tuple[Group, ...]:
        """Groups of spans that hold every candidate token exactly once. Pure."""

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The piece of each token, for selectors that divide their groups further.

        Args:
            tokens: The tokens of each group.
            keep: Tokens to keep of each group, for partitions whose number of pieces follows from it.

        Returns:
            (B, N) int64, numbered from 0 in each group, -1 for tokens that are not valid. By default as `split` divides
            images of that many tokens.
        """
        labels = torch.full_like(tokens.row, -1)
        for group, valid in enumerate(tokens.valid):
            index = valid.nonzero().flatten()
            image, frame, tile = (plane[group, index].tolist() for plane in (tokens.image, tokens.frame, tokens.tile))
            runs = [list(run) for _, run in groupby(range(len(index)), key=image.__getitem__)]
            layout = Layout(tuple(_item(frame[run[0] : run[-1] + 1], tile[run[0] : run[-1] + 1]) for run in runs))
            for piece, spans in enumerate(self.split(layout)):
                for span in spans:
                    first = runs[span.image][0]
                    labels[group, index[first + span.start : first + span.stop]] = piece
        return labels


def _item(frame: Sequence[int], tile: Sequence[int]) -> ImageLayout:
    """The layout of an image or video from the frame and tile of each of its tokens."""
    planes = list(zip(frame, tile, strict=True))
    tiles = [(place[0], len(list(same))) for place, same in groupby(planes)]
    frames = tuple(len(list(same)) for _, same in groupby(number for number, _ in tiles))
    return ImageLayout(tuple(tokens for _, tokens in tiles), frames=frames if max(frame) > 0 else ())


class TokenPartition(Partition[S]):
    """A partition made from the tokens: their places in the grid, or their features.

    How many tokens its pieces have is known only once tokens exist, so it cannot be the ``partition`` of a spec, whose
    counts are planned from sizes alone. Selectors such as `quota` divide a group by `label` and share the group's count
    among its pieces, so that plans stay exact.
    """

    def split(self, layout: Layout) -> tuple[Group, ...]:
        """Whole images: no piece holds tokens of two."""
        return tuple((Span(number, 0, image.tokens),) for number, image in enumerate(layout.images))

    @abstractmethod
    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The piece of each token; see `Partition.label`. A group's labels do not depend on the other groups."""
