"""Weights of kept tokens, and of the dropped tokens assigned to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scope_core import Selection, SpecError, VisualTokens
from scope_core.parts import SimilarityMetric, similarities, similarity_rows


def kept_rows(selection: Selection) -> Tensor:
    """(B, K, N) weights: 1 for each kept token, in the order of ``selection.arranged``; rows of padding are 0."""
    order, tokens = selection.arranged, selection.tokens
    rows = tokens.features.new_zeros((*order.shape, tokens.shape[1]))
    return rows.scatter(2, order.clamp(min=0)[..., None], (order >= 0).to(rows.dtype)[..., None])


def keeps_nothing(selection: Selection) -> bool:
    """True if no group keeps a row, so that mergers add none either."""
    return selection.allotted is not None and not any(selection.allotted)


def one_less(selection: Selection) -> Selection:
    """The selection with one row less in each group's budget, for a merger inside another that adds a row."""
    allotted = selection.allotted
    return selection if allotted is None else replace(selection, allotted=tuple(max(n - 1, 0) for n in allotted))


def members(
    selection: Selection, similarity: SimilarityMetric[Any], stage: int | None, least: float | None = None
) -> Tensor:
    """(B, K, N) weights: 1 in the row of the kept token that each dropped one is assigned to.

    If the selector merged tokens, its assignment is used; otherwise each goes to the most similar kept token, ties to
    the lowest index, or with ``least`` to none if it is less similar than that. With ``stage``, only the picks of that
    step of a chain are targets.

    Raises:
        SpecError: ``stage`` is above 0, but the selector is not a chain.
    """
    if stage and selection.stage is None:
        raise SpecError(
            f"the merger has `stage: {stage}`, but the selector is not a chain; set `stage: 0`, or use 'chain'"
        )
    order, tokens = selection.arranged, selection.tokens
    rows = tokens.features.new_zeros((*order.shape, tokens.shape[1]))
    targets = torch.zeros_like(tokens.valid)
    for group, picks in enumerate(selection.picks):
        live = picks >= 0
        if stage is not None:
            steps = torch.zeros_like(picks) if selection.stage is None else selection.stage[group]
            live = live & (steps == stage)
        targets[group, picks[live]] = True
    home = _nearest(similarity, tokens, targets, least) if selection.assigned is None else selection.assigned
    dropped = tokens.valid & ~selection.mask & (home >= 0)
    dropped &= targets.gather(1, home.clamp(min=0))
    for group, line in enumerate(order):
        place = torch.full((tokens.shape[1],), -1, dtype=torch.int64, device=line.device)
        live = line >= 0
        place[line[live]] = live.nonzero().flatten()
        index = dropped[group].nonzero().flatten()
        rows[group, place[home[group, index]], index] = 1
    return rows


def _nearest(
    metric: SimilarityMetric[Any], tokens: VisualTokens, targets: Tensor, least: float | None = None
) -> Tensor:
    """(B, N) the target most similar to each token, ties to the lowest index; -1 without targets of that similarity."""
    none = ~targets.any(1, keepdim=True)
    if not metric.symmetric:
        matrix = similarities(metric, tokens).masked_fill(~targets[:, None, :], -torch.inf)
        far = none if least is None else none | (matrix.amax(2) < least)
        return matrix.argmax(2).masked_fill(far, -1)
    lists = [row.nonzero().flatten() for row in targets]
    index = torch.nn.utils.rnn.pad_sequence(lists, batch_first=True, padding_value=-1)
    if not index.shape[1]:
        return torch.full_like(tokens.row, -1)
    rows = similarity_rows(metric, tokens, index).masked_fill((index < 0)[..., None], -torch.inf)
    far = none if least is None else none | (rows.amax(1) < least)
    return index.gather(1, rows.argmax(1)).masked_fill(far, -1)
