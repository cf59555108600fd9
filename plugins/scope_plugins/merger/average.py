"""Kept tokens become the mean of themselves and the dropped tokens that go to them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot
from scope_plugins.merger._targets import kept_rows, members


class AverageSpec(ComponentSpec):
    """Every dropped token goes to one kept token."""

    name: Literal["average"] = "average"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """How alike two tokens are; a dropped token goes to the most similar kept one. Not used where the selector itself
    folded tokens together."""
    stage: Annotated[int | None, Field(ge=0)] = None
    """The stage of a chain whose picks take tokens in, from 0; none for all picks."""


class Average(Merger[AverageSpec]):
    """``y_k = (x_k + sum_{j to k} x_j) / (1 + |{j to k}|)``: every token counts the same.

    After a selector that folds tokens in rounds that is the average weighted by size of ToMe, arXiv 2210.09461.
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N); rows sum to 1."""
        rows = kept_rows(selection) + members(selection, self.parts["similarity"], self.spec.stage)
        return rows / rows.sum(2, keepdim=True).clamp(min=1)
