"""From a merger's weights for each group to the rows that the language model gets of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from scope_core.errors import BudgetError, PluginOutputError, SpecError
from scope_core.parts.calls import attribute_errors, expect
from scope_core.parts.merger import Merger
from scope_core.structures.layout import Plan
from scope_core.structures.selection import Mixed, Selection
from scope_core.structures.signals import parse_signal
from scope_core.structures.tokens import VisualTokens


def less_extra(counts: Sequence[int], merger: Merger[Any], plan: Plan) -> tuple[int, ...]:
    """How many tokens a selector is asked for, where the merger adds rows of its own to every group.

    Raises:
        BudgetError: a group's budget has no room for them.
        SpecError: a group holds several images, so nobody could say whose rows they are.
    """
    kept = []
    for group, count in zip(plan.groups, counts, strict=True):
        added = sum(check_extra(merger, sum(span.tokens for span in group), count))
        if added and len({span.image for span in group}) > 1:
            raise SpecError(_nobodys(merger, added))
        if added > count:
            raise BudgetError(
                f"image {group[0].image}: merger {merger} adds {added} row(s) of its own, more than the {count} of the "
                f"budget; raise the budget"
            )
        kept.append(count - added)
    return tuple(kept)


def merged(
    selection: Selection, merger: Merger[Any], counts: Sequence[int], index: Tensor | None, tokens: VisualTokens
) -> Selection:
    """The selection as rows per image, with what the merger made of it.

    Args:
        selection: One row per group.
        merger: Asked once, for all groups together.
        counts: Rows for the language model of each group.
        index: (G, M) flat tokens of each group, -1 for padding; None where groups are the images.
        tokens: All tokens, one row per image.
    """
    shared = index is not None and _shared(index, tokens.shape[1])
    if index is not None and shared:  # several images in a group: each merges by itself
        allowed = torch.zeros_like(tokens.valid).flatten()
        allowed[index[index >= 0]] = selection.tokens.valid[index >= 0]
        selection = ungroup(selection, index, replace(tokens, valid=allowed.view_as(tokens.valid)))
        counts, index = selection.counts, None
    sizes = (index >= 0).sum(1).tolist() if index is not None else tokens.valid.sum(1).tolist()
    extra = [check_extra(merger, size, rows) for size, rows in zip(sizes, counts, strict=True)]
    if shared and any(map(sum, extra)):
        raise SpecError(_nobodys(merger, max(map(sum, extra))))
    selection = replace(selection, allotted=tuple(counts))
    with attribute_errors(merger, "weights"):
        weights = merger.weights(selection)
    check_weights(weights, selection, extra, merger)
    made = replace(selection, tokens=tokens) if index is None else ungroup(selection, index, tokens)
    if weights is None:
        return made
    return replace(made, mixed=_assembled(weights, selection, extra, index, made, cls_signal(merger)))


def _nobodys(merger: Merger[Any], added: int) -> str:
    return (
        f"merger {merger} adds {added} row(s) to every group, and the partition puts several images into one "
        f"group; choose `partition: image`, or a merger that adds none"
    )


def cls_signal(merger: Merger[Any]) -> str:
    """The signal with the CLS token that a merger mixes in; empty where it mixes in none.

    Raises:
        PluginOutputError: it declares no such signal, or several.
    """
    if not merger.uses_cls:
        return ""
    read = {name for part in merger.walk() for name in part.needs if parse_signal(name)[0] == "vision.cls"}
    if len(read) != 1:
        raise PluginOutputError(
            f"merger {merger} says uses_cls, and needs {', '.join(sorted(read)) or 'no vision.cls signal'}; "
            f"expected one, e.g. vision.cls[-2]"
        )
    return read.pop()


def _shared(index: Tensor, count: int) -> bool:
    image = torch.where(index >= 0, index // count, index[:, :1] // count)
    return bool((image != image[:, :1]).any())


def _assembled(
    weights: Tensor,
    groups: Selection,
    extra: Sequence[tuple[int, int]],
    index: Tensor | None,
    whole: Selection,
    cls_name: str,
) -> Mixed:
    batch, count, _ = whole.tokens.shape
    there = whole.tokens.valid.flatten()
    if index is None:
        index = torch.arange(batch * count, device=there.device).view(batch, count)
    width = index.shape[1]
    middle = max((before for before, _ in extra), default=0)
    behind = middle + groups.picks.shape[1]
    parts: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in range(batch)]
    arranged = groups.arranged
    for group, (kept, (before, after)) in enumerate(zip(groups.counts, extra, strict=True)):
        if kept + before + after == 0:
            continue
        real = (index[group] >= 0) & there[index[group].clamp(min=0)]
        place, image = index[group][real] % count, int(index[group][real][0]) // count
        chosen = [*range(before), *range(middle, middle + kept), *range(behind, behind + after)]
        mine = weights[group, chosen]
        row, cls = mine.new_zeros(len(chosen), count), mine.new_zeros(len(chosen), count)
        row[:, place] = mine[:, :width][:, real]
        if cls_name:  # every token carries the CLS of its tile, so the group's first will do
            cls[:, place[:1]] = mine[:, width:]
        source = index[group][arranged[group, :kept]] % count
        parts[image].append(
            (row, cls, torch.cat([source.new_full((before,), -1), source, source.new_full((after,), -1)]))
        )
    made: list[tuple[Tensor, Tensor, Tensor]] = []
    for of_image, order in zip(parts, whole.arranged, strict=True):
        empty = (weights.new_zeros(0, count), weights.new_zeros(0, count), arranged.new_zeros(0))
        row, cls, source = (torch.cat(column) for column in zip(*of_image, strict=True)) if of_image else empty
        if not bool((source < 0).any()):  # the order is that of all groups together: they may interleave
            place = torch.zeros(count, dtype=torch.int64, device=source.device)
            place[source] = torch.arange(len(source), device=source.device)
            again = place[order[: len(source)]]
            row, cls, source = row[again], cls[again], source[again]
        made.append((row, cls, source))
    return Mixed(
        weights=pad_sequence([row for row, _, _ in made], batch_first=True),
        cls_weights=pad_sequence([cls for _, cls, _ in made], batch_first=True) if cls_name else None,
        sources=pad_sequence([source for _, _, source in made], batch_first=True, padding_value=-1),
        counts=tuple(len(source) for _, _, source in made),
        cls_signal=cls_name,
    )


def check_extra(merger: Merger[Any], tokens: int, rows: int) -> tuple[int, int]:
    """How many rows a merger adds before and after the kept ones of a group; none to a group that keeps nothing."""
    if rows == 0:
        return 0, 0
    with attribute_errors(merger, "extra"):
        extra = merger.extra(tokens, rows)
    if not (isinstance(extra, tuple) and len(extra) == 2 and all(isinstance(n, int) and n >= 0 for n in extra)):
        raise PluginOutputError(
            f"merger {merger}: extra({tokens}, {rows}) returned {extra!r}; expected (rows before, rows after)"
        )
    return extra


def check_weights(weights: Any, selection: Selection, extra: Sequence[tuple[int, int]], merger: Merger[Any]) -> None:
    """Refuse merge weights of another shape than (B, before + K + after, N), or that are not finite."""
    if weights is None:
        if any(map(sum, extra)):
            raise PluginOutputError(
                f"merger {merger}: weights() returned None, and extra() promised rows; expected what they are mixed of"
            )
        return
    batch, kept = selection.picks.shape
    front, behind = (max((added[side] for added in extra), default=0) for side in (0, 1))
    tokens, count = selection.tokens, selection.tokens.shape[1]
    shape = (batch, front + kept + behind, count + bool(merger.uses_cls))
    expect(weights, shape, f"merger {merger}: weights()", tokens)
    used = torch.zeros(shape[:2], dtype=torch.bool)
    for line, mine, (before, after) in zip(used, selection.counts, extra, strict=True):
        line[:before] = line[front : front + mine] = line[front + kept : front + kept + after] = True
    used = used.to(tokens.device)[..., None]
    odd = ~torch.isfinite(weights) & used
    forbidden = (weights[..., :count] != 0) & used & ~tokens.valid[:, None]
    for wrong, why in ((odd, "merging needs finite numbers"), (forbidden, "that token is padding, or must be dropped")):
        if bool(wrong.any()):
            group, row, col = (int(i) for i in wrong.nonzero()[0])
            raise PluginOutputError(
                f"merger {merger}: weights() of {tokens.name_of(group)} gave {float(weights[group, row, col])} "
                f"in row {row}, column {col}; {why}"
            )


def ungroup(selection: Selection, index: Tensor, tokens: VisualTokens) -> Selection:
    """Rows per image again; each image's picks follow the order of the groups they came from."""
    count = tokens.shape[1]
    live = selection.picks >= 0
    flat = index.gather(1, selection.picks.clamp(min=0))[live]
    owner = flat // count

    def per_image(column: Tensor, fill: float) -> Tensor:
        rows = [column[owner == image] for image in range(tokens.shape[0])]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)

    def assigned(places: Tensor) -> Tensor:
        made = torch.full_like(tokens.row, -1).flatten()
        real = (index >= 0) & (places >= 0)
        here, there = index[real], index.gather(1, places.clamp(min=0))[real]
        same = here // count == there // count  # a token folded into another image's has no home in its own
        made[here[same]] = there[same] % count
        return made.view_as(tokens.row)

    return replace(
        selection,
        picks=per_image(flat % count, -1),
        gains=per_image(selection.gains[live], torch.nan),
        scores=per_image(selection.scores[live], torch.nan),
        stage=None if selection.stage is None else per_image(selection.stage[live], 0),
        assigned=None if selection.assigned is None else assigned(selection.assigned),
        allotted=None,  # what was said of groups
        tokens=tokens,
    )
