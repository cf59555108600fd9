"""One more row for everything that was dropped."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot, scores
from scope_plugins.merger._targets import keeps_nothing, kept_rows, one_less


class ResidualSpec(ComponentSpec):
    """A row after the others, the sum of the dropped tokens weighted by saliency."""

    name: Literal["residual"] = "residual"
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """Weight of each dropped token."""
    merger: Annotated[ComponentSpec, Slot("merger")]
    """What becomes of the other rows."""
    normalise: bool = False
    """Divide by the sum of the weights."""


class Residual(Merger[ResidualSpec]):
    """``y = sum_{j dropped} a_j x_j`` behind the rows of another merger; 0 where nothing was dropped.

    The row counts against the budget. Source: PruMerge's release.
    """

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """One more row after the other merger's."""
        before, after = self.parts["merger"].extra(tokens, max(rows - 1, 0))
        return before, after + 1

    @property
    def uses_cls(self) -> bool:
        """As the other merger."""
        made: bool = self.parts["merger"].uses_cls
        return made

    def weights(self, selection: Selection) -> Tensor:
        """(B, before + K + after + 1, N), or N + 1 where the other merger uses CLS."""
        tokens = selection.tokens
        inner = self.parts["merger"].weights(one_less(selection))
        rows = kept_rows(selection) if inner is None else inner
        if keeps_nothing(selection):
            return rows
        dropped = tokens.valid & ~selection.mask
        last = scores(self.parts["saliency"], tokens).to(rows.dtype).masked_fill(~dropped, 0)
        if self.spec.normalise:
            total = last.sum(1, keepdim=True)
            last = last / total.masked_fill(total == 0, 1)
        last = torch.nn.functional.pad(last, (0, rows.shape[2] - last.shape[1]))
        return torch.cat([rows, last[:, None]], 1)
