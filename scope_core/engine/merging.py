"""From a merger's weights for each group to the rows that the language model gets for each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence

from scope_core.engine.grouping import ungroup
from scope_core.errors import BudgetError, PluginOutputError, SpecError, quoted
from scope_core.parts.calls import attribute_errors, expect
from scope_core.parts.merger import Merger
from scope_core.structures.layout import Plan
from scope_core.structures.mixed import Mixed
from scope_core.structures.plain import all_finite
from scope_core.structures.selection import Selection
from scope_core.structures.signals import parse_signal
from scope_core.structures.tokens import VisualTokens


def less_extra(counts: Sequence[int], merger: Merger[Any], plan: Plan) -> tuple[int, ...]:
    """The tokens that the selector keeps of each group: its count less the rows that the merger adds.

    Raises:
        BudgetError: the merger adds more rows than a group's budget.
        SpecError: the merger adds rows to a group of several images, so that they belong to no single image.
    """
    kept = []
    for group, count in zip(plan.groups, counts, strict=True):
        added = sum(check_extra(merger, sum(span.tokens for span in group), count))
        if added and len({span.image for span in group}) > 1:
            raise SpecError(_shared_group_message(merger, added))
        if added > count:
            raise BudgetError(
                f"image {group[0].image}: merger {merger} adds {added} row(s), but the budget is {count}; "
                f"raise the budget"
            )
        kept.append(count - added)
    return tuple(kept)


def rows_of_fewer(kept: Sequence[int], planned: Sequence[int], merger: Merger[Any], plan: Plan) -> tuple[int, ...]:
    """The rows of each group where a selector kept fewer tokens than it was asked for: with those the merger adds.

    Raises:
        BudgetError: no number of rows up to the planned one leaves the selector this many tokens.
    """
    found = []
    for group, count, most in zip(plan.groups, kept, planned, strict=True):
        size = sum(span.tokens for span in group)
        fitting = (rows for rows in range(count, most + 1) if rows - sum(check_extra(merger, size, rows)) == count)
        rows = next(fitting, None) if count else 0
        if rows is None:
            raise BudgetError(
                f"image {group[0].image}: the selector kept {count} tokens, and merger {merger} adds more rows to them "
                f"than the budget of {most} allows; choose another merger, or a selector that keeps the whole budget"
            )
        found.append(rows)
    return tuple(found)


def merged(
    selection: Selection, merger: Merger[Any], counts: Sequence[int], index: Tensor | None, tokens: VisualTokens
) -> Selection:
    """The selection with one row per image, merged by the merger.

    Args:
        selection: One row per group.
        merger: Called once, for all groups together.
        counts: Rows that the language model gets of each group.
        index: (G, M) flat tokens of each group, -1 for padding; None if the groups are the images.
        tokens: All tokens, one row per image.
    """
    shared = index is not None and _shared(index, tokens.shape[1])
    if index is not None and shared:  # a group holds several images: each is merged by itself
        if selection.tokens.padded:
            allowed = torch.zeros_like(tokens.valid).flatten()
            allowed[index[index >= 0]] = selection.tokens.valid[index >= 0]
            tokens_left = tokens.changed(valid=allowed.view_as(tokens.valid))
        else:
            tokens_left = tokens
        selection = ungroup(selection, index, tokens_left)
        counts, index = selection.counts, None
    sizes = tokens.n_valid if index is None else (index >= 0).sum(1).tolist()
    extra = [check_extra(merger, size, rows) for size, rows in zip(sizes, counts, strict=True)]
    if shared and any(map(sum, extra)):
        raise SpecError(_shared_group_message(merger, max(map(sum, extra))))
    if selection.allotted != counts:
        selection = selection.changed(allotted=tuple(counts))
    with attribute_errors(merger, "weights"):
        weights = merger.weights(selection)
    check_weights(weights, selection, extra, merger)
    if index is not None:
        by_image = ungroup(selection, index, tokens)
    else:
        by_image = selection if selection.tokens is tokens else selection.changed(tokens=tokens)
    if weights is None:
        return by_image
    return by_image.changed(mixed=_assembled(weights, selection, extra, index, by_image, cls_signal(merger)))


def _shared_group_message(merger: Merger[Any], added: int) -> str:
    return (
        f"merger {merger} adds {added} row(s) to every group, and the partition puts several images into one "
        f"group; choose `partition: image`, or a merger that adds none"
    )


def cls_signal(merger: Merger[Any]) -> str:
    """The signal with the CLS token that a merger uses; empty if it uses none.

    Raises:
        SpecError: mergers inside each other use CLS tokens of different layers.
        PluginOutputError: a merger uses CLS and declares no such signal, or several.
    """
    if not merger.uses_cls:
        return ""
    each = [{name for name in part.needs if parse_signal(name)[0] == "vision.cls"} for part in merger.walk()]
    read = set[str]().union(*each)
    if len(read) > 1 and all(len(names) < 2 for names in each):
        raise SpecError(
            f"merger {merger} and those inside it read CLS tokens of several layers: {', '.join(sorted(read))}; give "
            f"all of them the same `layer`"
        )
    if len(read) != 1:
        raise PluginOutputError(
            f"merger {merger} has uses_cls = True but needs {', '.join(sorted(read)) or 'no vision.cls signal'}; "
            f"expected exactly one, e.g. vision.cls[-2]"
        )
    return read.pop()


def _shared(index: Tensor, count: int) -> bool:
    """True if any group holds tokens of several images."""
    image = torch.where(index >= 0, index // count, index[:, :1] // count)
    return bool((image != image[:, :1]).any())


def _assembled(
    weights: Tensor,
    groups: Selection,
    extra: Sequence[tuple[int, int]],
    index: Tensor | None,
    by_image: Selection,
    cls_name: str,
) -> Mixed:
    """The merger's rows of all groups of an image, one after the other, as weights over the image's tokens."""
    batch, count, _ = by_image.tokens.shape
    sizes = {kept + sum(added) for kept, added in zip(groups.counts, extra, strict=True)}
    if index is None and not by_image.tokens.padded and len(set(extra)) == 1 and sizes == {weights.shape[1]}:
        return _as_they_are(weights, groups, extra[0], cls_name)
    valid = by_image.tokens.valid.flatten()
    whole = index is None and not by_image.tokens.padded
    if index is None:
        index = torch.arange(batch * count, device=valid.device).view(batch, count)
    width = index.shape[1]
    middle = max((before for before, _ in extra), default=0)
    behind = middle + groups.picks.shape[1]
    parts: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(batch)]
    arranged = groups.arranged
    for group, (kept, (before, after)) in enumerate(zip(groups.counts, extra, strict=True)):
        if kept + before + after == 0:
            continue
        real = (index[group] >= 0) & valid[index[group].clamp(min=0)]
        columns, image = index[group][real] % count, int(index[group][real][0]) // count
        used = [*range(before), *range(middle, middle + kept), *range(behind, behind + after)]
        group_weights = weights[group] if len(used) == weights.shape[1] else weights[group, used]
        if whole:  # the group is the image, without padding
            row = group_weights[:, :width]
        else:
            row = group_weights.new_zeros(len(used), count)
            row[:, columns] = group_weights[:, :width][:, real]
        cls = row[:, :0]
        if cls_name:  # every token carries the CLS of its tile, so the group's first one is enough
            cls = group_weights.new_zeros(len(used), count)
            cls[:, columns[:1]] = group_weights[:, width:]
        source = index[group][arranged[group, :kept]] % count
        parts[image].append(
            (row, cls, torch.cat([source.new_full((before,), -1), source, source.new_full((after,), -1)]))
        )
    images: list[tuple[Tensor, Tensor, Tensor]] = []
    for of_image, order in zip(parts, by_image.arranged, strict=True):
        empty = (weights.new_zeros(0, count), weights.new_zeros(0, count), arranged.new_zeros(0))
        row, cls, source = (torch.cat(column) for column in zip(*of_image, strict=True)) if of_image else empty
        if not bool((source < 0).any()):  # put rows into the order of the whole image: groups may interleave
            row_of = torch.zeros(count, dtype=torch.int64, device=source.device)
            row_of[source] = torch.arange(len(source), device=source.device)
            reordered = row_of[order[: len(source)]]
            row, cls, source = row[reordered], cls[reordered], source[reordered]
        images.append((row, cls, source))
    return Mixed(
        weights=pad_sequence([row for row, _, _ in images], batch_first=True),
        cls_weights=pad_sequence([cls for _, cls, _ in images], batch_first=True) if cls_name else None,
        sources=pad_sequence([source for _, _, source in images], batch_first=True, padding_value=-1),
        counts=tuple(len(source) for _, _, source in images),
        cls_signal=cls_name,
    )


def _as_they_are(weights: Tensor, groups: Selection, extra: tuple[int, int], cls_name: str) -> Mixed:
    """The merger's rows of groups that are whole images, without padding, and have equally many rows."""
    count, cls = groups.tokens.shape[1], None
    if cls_name:  # every token carries the CLS of its tile, so the first one is enough
        cls = weights.new_zeros(*weights.shape[:2], count)
        cls[..., 0] = weights[..., count]
        weights = weights[..., :count].contiguous()
    rows = weights.shape[1]
    return Mixed(weights, cls, pad(groups.arranged, extra, value=-1), (rows,) * len(weights), cls_name)


def check_extra(merger: Merger[Any], tokens: int, rows: int) -> tuple[int, int]:
    """The rows that a merger adds before and after the kept ones of a group; none to a group that keeps nothing."""
    if rows == 0:
        return 0, 0
    with attribute_errors(merger, "extra"):
        extra = merger.extra(tokens, rows)
    if not (isinstance(extra, tuple) and len(extra) == 2 and all(isinstance(n, int) and n >= 0 for n in extra)):
        raise PluginOutputError(
            f"merger {merger}: extra({tokens}, {rows}) returned {quoted(extra)}; expected (rows before, rows after)"
        )
    return extra


def check_weights(weights: Any, selection: Selection, extra: Sequence[tuple[int, int]], merger: Merger[Any]) -> None:
    """Refuse merge weights that are not finite or not of shape (B, before + K + after, N)."""
    if weights is None:
        if any(map(sum, extra)):
            raise PluginOutputError(
                f"merger {merger}: weights() returned None although extra() promised rows; expected their weights"
            )
        return
    batch, kept = selection.picks.shape
    front, behind = (max((added[side] for added in extra), default=0) for side in (0, 1))
    tokens, count = selection.tokens, selection.tokens.shape[1]
    shape = (batch, front + kept + behind, count + bool(merger.uses_cls))
    expect(weights, shape, f"merger {merger}: weights()", tokens)
    if all_finite(weights) and not tokens.padded:
        return
    used = torch.zeros(shape[:2], dtype=torch.bool)
    for rows, picked, (before, after) in zip(used, selection.counts, extra, strict=True):
        rows[:before] = rows[front : front + picked] = rows[front + kept : front + kept + after] = True
    used = used.to(tokens.device)[..., None]
    infinite = ~torch.isfinite(weights) & used
    forbidden = (weights[..., :count] != 0) & used & ~tokens.valid[:, None]
    for wrong, why in (
        (infinite, "merging needs finite numbers"),
        (forbidden, "that token is padding, or must be dropped"),
    ):
        if bool(wrong.any()):
            group, row, col = (int(i) for i in wrong.nonzero()[0])
            raise PluginOutputError(
                f"merger {merger}: weights() of {tokens.name_of(group)} gave {float(weights[group, row, col])} "
                f"in row {row}, column {col}; {why}"
            )
