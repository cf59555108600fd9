"""Each kept token becomes the mean of itself and the dropped tokens assigned to it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot
from scope_plugins.merger._targets import members, with_kept


class AverageSpec(ComponentSpec):
    """Every dropped token is assigned to one kept token."""

    name: Literal["average"] = "average"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens; a dropped token is assigned to the most similar kept one. Ignored if the selector
    itself merged tokens."""
    stage: Annotated[int | None, Field(ge=0)] = None
    """The step of a chain, from 0, whose picks the dropped tokens are assigned to; null for all picks."""
    least: float | None = None
    """Least similarity of a dropped token to its kept token; tokens below it are not merged. null: all are. Ignored if
    the selector itself merged tokens."""


class Average(Merger[AverageSpec]):
    """Every kept token stands for a group of similar tokens, by their mean.

    Use it so that no dropped token is lost entirely. After the selector `bipartite` with ``fold``, it is ToMe's average
    weighted by size.

    ``y_k = (x_k + sum_{j to k} x_j) / (1 + |{j to k}|)``; where the selector merged tokens and gives them weights,
    as `trees` does, it is the mean by these weights. Sources: ToMe, arXiv 2210.09461;
    PACT, arXiv 2504.08966 (``least``).
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N); rows sum to 1."""
        rows = members(selection, self.parts["similarity"], self.spec.stage, self.spec.least)
        with_kept(rows, selection)  # in place: for long videos, these are the largest of all tensors
        if selection.shares is None:
            return rows.div_(rows.sum(2, keepdim=True).clamp(min=1))
        rows *= selection.shares[:, None].to(rows)
        total = rows.sum(2, keepdim=True)
        return rows.div_(total.masked_fill(total == 0, 1))
