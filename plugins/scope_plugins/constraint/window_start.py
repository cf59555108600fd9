"""The first frame of every window must be kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Constraint


class WindowStartSpec(ComponentSpec):
    """The tokens of the first frame of every window must be kept."""

    name: Literal["window_start"] = "window_start"
    window: Annotated[int, Field(ge=1)] = 4
    """Frames of a window."""


class WindowStart(Constraint[WindowStartSpec]):
    """Every n-th frame of a video, kept whole.

    Use it with the saliency `window_difference`, which compares the other frames of a window with its first. Budgets
    must hold these frames: a quarter of the tokens, and more if the last window is short.
    Images of a group are frames of one video. Source: DyCoke, arXiv 2411.15024.
    """

    def must_keep(self, tokens: VisualTokens) -> Tensor | None:
        """(B, N) bool."""
        numbers = tokens.frames()
        return (numbers >= 0) & (numbers % self.spec.window == 0)
