"""The mean of the dropped tokens assigned to a kept token is added to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot
from scope_plugins.merger._targets import members, with_kept


class MeanAddSpec(ComponentSpec):
    """Every dropped token is assigned to one kept token."""

    name: Literal["mean_add"] = "mean_add"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens; a dropped token is assigned to the most similar kept one. Ignored if the selector
    itself merged tokens."""
    stage: Annotated[int | None, Field(ge=0)] = None
    """The step of a chain, from 0, whose picks the dropped tokens are assigned to; null for all picks."""


class MeanAdd(Merger[MeanAddSpec]):
    """Every kept token counts as much as all the tokens merged into it together.

    Use it to repeat VisionZip; `average` weighs all tokens the same. Sums of two vectors are about twice as long.

    ``y_k = x_k + mean_{j to k} x_j``; a kept token that no other is assigned to stays as it is.
    Source: VisionZip, arXiv 2412.04467, as released.
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N) weights; rows sum to 2, or to 1 without assigned tokens."""
        others = members(selection, self.parts["similarity"], self.spec.stage)
        return with_kept(others.div_(others.sum(2, keepdim=True).clamp(min=1)), selection)
