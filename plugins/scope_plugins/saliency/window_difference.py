"""Difference of each token from an earlier frame of its window."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins._frames import cosines, table


class WindowDifferenceSpec(ComponentSpec):
    """Difference of each token from the token at its place in an earlier frame of its window."""

    name: Literal["window_difference"] = "window_difference"
    window: Annotated[int, Field(ge=2)] = 4
    """Frames of a window; the last window of a video may have fewer."""


class WindowDifference(SaliencySource[WindowDifferenceSpec]):
    """Tokens that changed since the start of a short window of frames; what stands still is dropped.

    Use it for videos, with the constraint `window_start`, so that each window keeps one frame whole.

    ``a_j = 1 - cos(x_j, x_i)``, where i is the token at the same place (tile, row, column) of frame ``f - g``, and g
    is the largest power of two that divides f: in a window of four, 1 is compared with 0, 2 with 0 and 3 with 2. Tokens
    without one (in frame 0 of a window, or where frames differ in size) get 2. Tokens without a place in a grid are
    compared by their number in the frame. Images of a group are frames of one video. Source: DyCoke, arXiv 2411.15024.
    """

    reads_places = True
    copies = 2

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 2] up to rounding."""
        score = tokens.features.new_full(tokens.shape[:2], 2.0)
        for group in range(tokens.shape[0]):
            rows = table(tokens, group)
            frame = torch.arange(len(rows), device=rows.device)
            at = frame % self.spec.window
            now, earlier = rows[at > 0], rows[(frame - (at & -at))[at > 0]]
            both = (now >= 0) & (earlier >= 0)
            now, earlier = now[both], earlier[both]
            score[group, now] = (1 - cosines(tokens.features[group], now, earlier)).clamp(min=0)
        return score
