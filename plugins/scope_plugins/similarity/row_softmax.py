"""Softmax over each row of another similarity."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SimilarityMetric, Slot
from scope_plugins.similarity._rows import by_rows, range_of


class RowSoftmaxSpec(ComponentSpec):
    """Softmax over each row of another similarity."""

    name: Literal["row_softmax"] = "row_softmax"
    of: Annotated[ComponentSpec, Slot("similarity")]
    """The similarity."""
    temperature: Annotated[float, Field(ge=1e-6)] = 0.2
    """Divisor of similarities before the softmax; the smaller, the more the best token of a row gets."""
    joint: bool = False
    """Also divide by the number of rows, so that the whole matrix sums to 1 and coverage is a mean over rows."""


class RowSoftmax(SimilarityMetric[RowSoftmaxSpec]):
    """Every token divides a similarity of 1 among all tokens, most of it to the most similar ones.

    Use it to make similarities of different origin comparable before they are added up, as in MMTok.

    ``S_ij = exp(s_ij / t) / sum_l exp(s_il / t)`` over the valid tokens l, divided by their number if ``joint``. Never
    negative, and not symmetric. Source: MMTok, arXiv 2508.18264 (vision-vision coverage, temperature 0.2).
    """

    symmetric = False
    bounds = (0.0, 1.0)

    @property
    def matrices(self) -> float:  # type: ignore[override]  # follows from the similarity inside
        """Those of the similarity inside, or that matrix and its softmax."""
        return float(max(self.parts["of"].matrices, 2))

    @property
    def least_itemsize(self) -> int:  # type: ignore[override]  # follows from the similarity inside
        """That of the similarity inside."""
        return int(self.parts["of"].least_itemsize)

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        """(B, N, N) in [0, 1]; rows and columns of padding are 0.

        Raises:
            TokensError: the similarities of a group differ by so little that all shares are the same.
        """
        matrix: Tensor = self.parts["of"].pairwise(tokens)
        self._check_range(matrix, tokens)
        over = tokens.valid.sum(1).clamp(min=1)[:, None, None] if self.spec.joint else 1

        def shares(rows: slice) -> Tensor:
            padding = ~(tokens.valid[:, rows, None] & tokens.valid[:, None, :])
            logits = (matrix[:, rows] / self.spec.temperature).masked_fill_(padding, -torch.inf)
            return logits.softmax(2).masked_fill_(padding, 0).div_(over)

        return by_rows(matrix, shares)

    def _check_range(self, matrix: Tensor, tokens: VisualTokens) -> None:
        """Refuse similarities that differ, by more than they are rounded, but not after the exponential."""
        if not matrix.numel():
            return
        valid, rounding = tokens.valid, torch.finfo(matrix.dtype).eps
        high, low = range_of(matrix, valid)
        size = high.abs().maximum(low.abs())
        lost = (high - low < rounding * self.spec.temperature) & (high - low > 64 * rounding * size)
        if bool(lost.any()):
            group = int(lost.nonzero()[0])
            raise TokensError(
                f"similarity {self}: similarities of {tokens.name_of(group)} are between {float(low[group]):.4g} and "
                f"{float(high[group]):.4g}, too close for a softmax with temperature {self.spec.temperature:g} in "
                f"{str(matrix.dtype)[6:]}: all tokens would be alike; lower the temperature, or use the cosine"
            )
