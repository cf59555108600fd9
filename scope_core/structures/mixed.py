"""`Mixed`: rows for the language model that were merged from several tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scope_core.display import brief_repr
from scope_core.errors import TokensError
from scope_core.structures.plain import all_finite


@dataclass(frozen=True, eq=False)
class Mixed:
    """The merged rows that the language model gets; each is a weighted sum of tokens.

    Attributes:
        weights: (B, R, N) weight of each token in each row; zero beyond a group's rows.
        cls_weights: (B, R, N) weight in each row of the CLS token of each token's tile; None if CLS is not used.
        sources: (B, R) int64 kept token that each row stands for; -1 for rows that the merger added, and for padding.
        counts: Rows of each group.
        cls_signal: Name of the signal with the CLS tokens; empty if CLS is not used.
    """

    weights: Tensor
    cls_weights: Tensor | None
    sources: Tensor
    counts: tuple[int, ...]
    cls_signal: str = ""

    __repr__ = brief_repr

    def rows_of(self, tensor: Tensor, valid: Tensor | None, cls: Tensor | None) -> Tensor:
        """The rows as sums of a (B, N, D) tensor; see `Selection.merge`.

        Args:
            tensor: Floating point.
            valid: (B, N) bool; None if all tokens are valid.
            cls: (B, N, D) the CLS token of each token's tile; read only if the merger uses it.

        Raises:
            TokensError: ``cls`` is missing or of another shape; or sums are too large for the dtype of ``tensor``.
        """
        weights, padding = (
            self.weights.to(tensor.device),
            None if valid is None else ~valid.to(tensor.device)[..., None],
        )

        def real(values: Tensor) -> Tensor:  # padding may hold anything, and 0 x NaN is NaN
            return values if padding is None else values.masked_fill(padding, 0)

        rows = weighted_rows(weights, real(tensor).to(weights.dtype))
        if self.cls_weights is not None:
            if cls is None:
                raise TokensError("the merger uses the CLS token; give `cls`, (B, N, D), as well")
            if cls.shape != tensor.shape:
                raise TokensError(
                    f"cls has shape {tuple(cls.shape)}, the tokens have {tuple(tensor.shape)}; take both at the same "
                    f"point of the model"
                )
            rows = rows + weighted_rows(self.cls_weights.to(tensor.device), real(cls).to(weights.dtype))
        rows = rows.to(tensor.dtype)
        if not all_finite(rows) and all_finite(real(tensor)):
            most, what = float(weights.abs().max()), str(tensor.dtype)[6:]
            raise TokensError(
                f"merging leaves the range of {what}: weights of the merger are up to {most:.4g}, so that sums of "
                f"features are infinite; use a merger that averages (`normalise: true`), or a saliency of another scale"
            )
        return rows


def weighted_rows(weights: Tensor, tokens: Tensor) -> Tensor:
    """(B, R, D) sums of (B, N, D) tokens by (B, R, N) weights.

    Most mergers put each token into one row at most. Tokens are then added up one by one, in their order, which reads
    each once; on an accelerator the product is faster, and adding up has no order there.
    """
    batch, rows, _ = weights.shape
    if weights.device.type != "cpu" or weights.element_size() < 4 or not weights.numel():
        return weights @ tokens
    used = weights.sign().abs_()  # 1 and 0; comparisons and conversions take ten times as long
    times = used.sum(1)
    if int(times.amax()) > 1 or rows >= 2**24:  # from there on float32 does not hold the rows' numbers
        return weights @ tokens
    row = used.mul_(torch.arange(rows)[:, None]).sum(1).long()  # exact: the token's one row, and zeros
    weight, place = weights.sum(1)[..., None], row + rows * torch.arange(batch)[:, None]
    if int(times.amin()):
        scaled, place = (tokens * weight).flatten(0, 1), place.flatten()
    else:  # tokens in no row may hold numbers that are not finite
        some = times > 0
        scaled, place = tokens[some] * weight[some], place[some]
    return tokens.new_zeros(batch * rows, tokens.shape[2]).index_add_(0, place, scaled).view(batch, rows, -1)
