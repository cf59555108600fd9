"""An additional row for all dropped tokens together."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot, scores
from scope_plugins.merger._targets import keeps_nothing, kept_rows, one_less


class ResidualSpec(ComponentSpec):
    """An additional row, after the others: the sum of the dropped tokens weighted by saliency."""

    name: Literal["residual"] = "residual"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """Weight of each dropped token."""
    merger: Annotated[ComponentSpec, Slot("merger")]
    """The merger of the other rows."""
    normalise: bool = False
    """Divide by the sum of the weights."""


class Residual(Merger[ResidualSpec]):
    """All dropped tokens are summarised in one row.

    Use it to repeat PruMerge's release. The row counts towards the budget.

    ``y = sum_{j dropped} a_j x_j`` after the rows of another merger; 0 if no token was dropped.
    Source: PruMerge's release.
    """

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """One more row, after those of the other merger."""
        before, after = self.parts["merger"].extra(tokens, max(rows - 1, 0))
        return before, after + 1

    @property
    def uses_cls(self) -> bool:
        """True if the other merger uses CLS."""
        uses_cls: bool = self.parts["merger"].uses_cls
        return uses_cls

    def weights(self, selection: Selection) -> Tensor:
        """(B, before + K + after + 1, N) weights; N + 1 columns if the other merger uses CLS."""
        tokens = selection.tokens
        inner = self.parts["merger"].weights(one_less(selection))
        rows = kept_rows(selection) if inner is None else inner
        if keeps_nothing(selection):
            return rows
        dropped = tokens.valid & ~selection.mask
        last = scores(self.parts["saliency"], tokens).to(rows.dtype).masked_fill(~dropped, 0)
        if self.spec.normalise:
            total = last.double().sum(1, keepdim=True)  # half precision may overflow
            last = (last / total.masked_fill(total == 0, 1)).to(rows.dtype)
        last = torch.nn.functional.pad(last, (0, rows.shape[2] - last.shape[1]))
        return torch.cat([rows, last[:, None]], 1)
