"""Another similarity as shares: how a token's attention would be divided over all tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import ComponentSpec, SimilarityMetric, Slot

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class RowSoftmaxSpec(ComponentSpec):
    """Softmax over each row of another similarity."""

    name: Literal["row_softmax"] = "row_softmax"
    of: Annotated[ComponentSpec, Slot("similarity")]
    """The similarity."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    """What similarities are divided by first; the smaller, the more a row's best token gets."""
    joint: bool = False
    """Divide by the number of rows too, so that the whole matrix sums to 1 and coverage of it is a mean over rows."""


class RowSoftmax(SimilarityMetric[RowSoftmaxSpec]):
    """``S_ij = exp(s_ij / t) / sum_l exp(s_il / t)`` over the valid tokens l, and over n if ``joint``.

    A row sums to 1, so similarities are never negative, and a row is not symmetric to its column.
    Source: MMTok, arXiv 2508.18264 (vision-vision coverage, temperature 0.2).
    """

    symmetric = False
    bounds = (0.0, 1.0)
    matrices = 4

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [0, 1]; rows and columns of padding are 0."""
        import torch

        matrix: Tensor = self.parts["of"].pairwise(tokens)
        pairs = tokens.valid[:, :, None] & tokens.valid[:, None, :]
        logits = (matrix / self.spec.temperature).masked_fill(~pairs, -torch.inf)
        shares = logits.softmax(2).masked_fill(~pairs, 0)
        if self.spec.joint:
            shares = shares / tokens.valid.sum(1).clamp(min=1)[:, None, None]
        return shares
