"""Weights of kept tokens, and of the dropped tokens assigned to them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scope_core import Selection, SpecError, VisualTokens
from scope_core.parts import SimilarityMetric, similarities, similarity_rows


def kept_rows(selection: Selection) -> Tensor:
    """(B, K, N) weights: 1 for each kept token, in the order of ``selection.arranged``; rows of padding are 0."""
    order, tokens = selection.arranged, selection.tokens
    return with_kept(tokens.features.new_zeros((*order.shape, tokens.shape[1])), selection)


def with_kept(rows: Tensor, selection: Selection) -> Tensor:
    """(B, K, N) weights of other tokens, to which those of `kept_rows` are added in place."""
    order = selection.arranged
    return rows.scatter_(2, order.clamp(min=0)[..., None], (order >= 0).to(rows.dtype)[..., None])


def keeps_nothing(selection: Selection) -> bool:
    """True if no group keeps a row, so that mergers add none either."""
    return selection.allotted is not None and not any(selection.allotted)


def one_less(selection: Selection) -> Selection:
    """The selection with one row less in each group's budget, for a merger inside another that adds a row."""
    allotted = selection.allotted
    return selection if allotted is None else selection.changed(allotted=tuple(max(n - 1, 0) for n in allotted))


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
    order, tokens, targets = selection.arranged, selection.tokens, selection.mask
    count = tokens.shape[1]
    rows = tokens.features.new_zeros((*order.shape, count))
    if not order.shape[1]:
        return rows
    if stage is not None and selection.stage is not None:
        live = (selection.picks >= 0) & (selection.stage == stage)
        marks = torch.zeros_like(tokens.valid).to(torch.uint8)
        targets = marks.scatter_reduce_(1, selection.picks.clamp(min=0), live.to(torch.uint8), "amax").bool()
    home = _nearest(similarity, tokens, targets, least) if selection.assigned is None else selection.assigned
    at = home.clamp(min=0)
    dropped = tokens.valid & ~selection.mask & (home >= 0) & targets.gather(1, at)
    # the row of each kept token; a column more takes in the end of shorter rows
    number = torch.arange(order.shape[1], device=order.device).expand_as(order)
    place = torch.zeros((len(order), count + 1), dtype=torch.int64, device=order.device)
    place.scatter_(1, order.masked_fill(order < 0, count), number)
    return rows.scatter_(1, (place.gather(1, at) * dropped)[:, None], dropped.to(rows.dtype)[:, None])


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
    rows, short = similarity_rows(metric, tokens, index), len({len(one) for one in lists}) > 1
    if short:
        rows = rows.masked_fill((index < 0)[..., None], -torch.inf)
    most, first = rows.max(1)
    home = index.gather(1, first)
    if least is None and not short:
        return home
    return home.masked_fill(none if least is None else none | (most < least), -1)
