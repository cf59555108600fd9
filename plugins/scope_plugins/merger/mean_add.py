"""The mean of the dropped tokens that go to a kept token is added to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot
from scope_plugins.merger._targets import kept_rows, members


class MeanAddSpec(ComponentSpec):
    """Every dropped token goes to one kept token."""

    name: Literal["mean_add"] = "mean_add"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """How alike two tokens are; a dropped token goes to the most similar kept one. Not used where the selector itself
    folded tokens together."""
    stage: Annotated[int | None, Field(ge=0)] = None
    """The stage of a chain whose picks take tokens in, from 0; none for all picks."""


class MeanAdd(Merger[MeanAddSpec]):
    """``y_k = x_k + mean_{j to k} x_j``; a kept token that none goes to stays as it is.

    The sum of two vectors: rows with members are about twice as long. Source: VisionZip, arXiv 2412.04467, as released.
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N); rows sum to 2, or 1 where nothing goes to them."""
        others = members(selection, self.parts["similarity"], self.spec.stage)
        return kept_rows(selection) + others / others.sum(2, keepdim=True).clamp(min=1)
