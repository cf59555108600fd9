"""`Partition`: which tokens are selected together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

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

    def largest(self, size: int) -> int:
        """The size of the largest piece that a group of ``size`` tokens can have, for plans. Pure.

        By default that of the group.

        Args:
            size: Tokens of the group; a `GroupSize` where its frames are known.
        """
        return size

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
            if not len(index):
                continue
            image, frame, tile = (plane[group] for plane in (tokens.image, tokens.frame, tokens.tile))
            if len(index) < len(image):
                image, frame, tile = image[index], frame[index], tile[index]
            items = _stretches(image)
            layout = Layout(tuple(_item(frame[item], tile[item]) for item in items))
            numbers = [-1] * len(index)
            for piece, spans in enumerate(self.split(layout)):
                for span in spans:
                    run = slice(items[span.image].start + span.start, items[span.image].start + span.stop)
                    numbers[run] = [piece] * len(numbers[run])
            labels[group, index] = torch.tensor(numbers, device=labels.device)
        return labels


def _item(frame: Tensor, tile: Tensor) -> ImageLayout:
    """The layout of an image or video from the (n,) frame and tile of each of its tokens."""
    moving = bool((frame > 0).any())
    tiles = _stretches(frame, tile)
    frames = [len(_stretches(tile[part])) for part in _stretches(frame)] if moving else []
    return ImageLayout(tuple(part.stop - part.start for part in tiles), frames=tuple(frames))


def _stretches(*planes: Tensor) -> list[slice]:
    """The stretches of (n,) planes in which none of them changes."""
    changed = planes[0].diff() != 0
    for plane in planes[1:]:
        changed |= plane.diff() != 0
    changes = changed.nonzero().flatten().tolist()
    return [slice(*ends) for ends in pairwise([0, *(change + 1 for change in changes), len(planes[0])])]


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
