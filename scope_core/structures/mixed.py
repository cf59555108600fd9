"""`Mixed`: rows for the language model that were merged from several tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scope_core.display import brief_repr


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
