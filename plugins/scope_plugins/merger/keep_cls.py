"""The tower's CLS token as an additional row."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot
from scope_plugins.merger._targets import keeps_nothing, kept_rows, one_less


class KeepClsSpec(ComponentSpec):
    """An additional row, before the others, for the CLS token."""

    name: Literal["keep_cls"] = "keep_cls"
    layer: int = -2
    """The layer whose CLS token is taken, counted as in ``hidden_states``; use the one whose features are kept."""
    merger: Annotated[ComponentSpec, Slot("merger")]
    """The merger of the other rows."""


class KeepCls(Merger[KeepClsSpec]):
    """The tower's own summary of the image is kept along with the patches.

    Use it for towers with a CLS token, to repeat VisionZip. The row counts towards the budget.

    ``y_0 = x_cls`` before the rows of another merger. Source: VisionZip, arXiv 2412.04467, whose dominant tokens
    include CLS.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The CLS token of one layer."""
        return frozenset({f"vision.cls[{self.spec.layer}]"})

    def extra(self, tokens: int, rows: int) -> tuple[int, int]:
        """One more row, before those of the other merger."""
        before, after = self.parts["merger"].extra(tokens, max(rows - 1, 0))
        return before + 1, after

    @property
    def uses_cls(self) -> bool:
        """Always true."""
        return True

    def weights(self, selection: Selection) -> Tensor:
        """(B, 1 + before + K + after, N + 1) weights; the last column is CLS."""
        inner = self.parts["merger"].weights(one_less(selection))
        rows = kept_rows(selection) if inner is None else inner
        first, width = 0 if keeps_nothing(selection) else 1, selection.tokens.shape[1] + 1
        weights = rows.new_zeros((len(rows), first + rows.shape[1], width))
        weights[:, first:, : rows.shape[2]] = rows
        weights[:, :first, -1] = 1
        return weights
