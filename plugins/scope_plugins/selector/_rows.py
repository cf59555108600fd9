"""Selections from one row of picks per group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scope_core import Selection, VisualTokens


def ranked(score: Tensor, tokens: VisualTokens, group: int) -> Tensor:
    """(n,) candidates of a group, required ones first, then by ``score`` (N,) from the highest, ties to the lowest."""
    index = tokens.valid[group].nonzero().flatten()
    index = index[score[index].sort(descending=True, stable=True).indices]
    return index[tokens.required[group, index].to(torch.int8).sort(descending=True, stable=True).indices]


def selection_of(
    picks: Sequence[Tensor],
    gains: Sequence[Tensor],
    scores: Sequence[Tensor],
    tokens: VisualTokens,
    stage: Sequence[Tensor] | None = None,
    assigned: Tensor | None = None,
    shares: Tensor | None = None,
) -> Selection:
    """The selection with one row per group; shorter rows are filled with -1 and NaN."""

    def padded(rows: Sequence[Tensor], kind: Tensor, fill: float) -> Tensor:
        if not rows:
            return kind.new_zeros(0, 0)
        return torch.nn.utils.rnn.pad_sequence([row.to(kind) for row in rows], batch_first=True, padding_value=fill)

    values = [padded(rows, tokens.features, torch.nan) for rows in (gains, scores)]
    steps = None if stage is None else padded(stage, tokens.row, 0)
    picked = padded(picks, tokens.row, -1)
    return Selection(picked, values[0], values[1], tokens, stage=steps, assigned=assigned, shares=shares)
