"""Each tile's grid divided into windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, TokenPartition
from scope_plugins._places import check_places


class WindowsSpec(ComponentSpec):
    """Each tile's grid divided into rectangles."""

    name: Literal["windows"] = "windows"
    rows: Annotated[int, Field(ge=1)] = 6
    """Rows of a window; the last windows of a tile may have fewer."""
    cols: Annotated[int, Field(ge=1)] = 6
    """Columns of a window; the last windows of a tile may have fewer."""


class Windows(TokenPartition[WindowsSpec]):
    """Pieces of neighbouring tokens, all over the image.

    Use it in `quota` to keep tokens of every region. A window larger than the grid holds the whole tile. Windows are
    numbered image by image, tile by tile, row by row. Source: VScan, arXiv 2505.22654, whose windows are 6 x 6 of 24 x
    24.
    """

    reads_places = True

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The window of each token.

        Raises:
            TokensError: a token has no place in a grid.
        """
        check_places(self, tokens, "the partition 'chunks'")
        planes = (tokens.image, tokens.tile, tokens.row // self.spec.rows, tokens.col // self.spec.cols)
        keys = torch.stack(planes, 2)
        labels = torch.full_like(tokens.row, -1)
        for line, key, valid in zip(labels, keys, tokens.valid, strict=True):
            line[valid] = torch.unique(key[valid], dim=0, return_inverse=True)[1]
        return labels
