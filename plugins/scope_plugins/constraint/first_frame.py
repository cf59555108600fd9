"""All tokens of the first frame must be kept."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Constraint


class FirstFrameSpec(ComponentSpec):
    """The tokens of a group's first frames must be kept."""

    name: Literal["first_frame"] = "first_frame"
    frame: Literal["image", "tile"] = "image"
    """The unit that counts as a frame: each frame of a video and each image of the group, or each tile."""
    count: Annotated[int, Field(ge=1)] = 1
    """Number of frames, from the start."""


class FirstFrame(Constraint[FirstFrameSpec]):
    """The first frames of a video, kept whole.

    Use it for videos, whose later frames are then pruned relative to the first: every token of the group's first
    ``count`` frames must be kept. Source: EVS, arXiv 2510.14624.
    """

    def must_keep(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool."""
        unit = tokens.tile if self.spec.frame == "tile" else tokens.frame
        mask = torch.zeros_like(tokens.valid)
        for group, valid in enumerate(tokens.valid):
            number = tokens.image[group] * (int(unit.max()) + 1) + unit[group]  # ordered by image, then unit
            held = number[valid]
            if len(held):
                last = held.amin() if self.spec.count == 1 else torch.unique(held)[: self.spec.count][-1]
                mask[group] = (number <= last) & valid
        return mask
