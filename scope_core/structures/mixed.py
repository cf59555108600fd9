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
    batch, rows, count = weights.shape
    if weights.device.type != "cpu" or weights.element_size() < 4 or not weights.numel():
        return weights @ tokens
    used = weights != 0
    if int(used.sum(1).amax()) > 1:
        return weights @ tokens
    group, row, token = used.nonzero().unbind(1)
    sums = tokens.new_zeros(batch * rows, tokens.shape[2])
    places = torch.argsort(group * count + token)
    group, row, token = group[places], row[places], token[places]
    added = tokens[group, token] * weights[group, row, token][:, None]
    return sums.index_add_(0, group * rows + row, added).view(batch, rows, -1)
