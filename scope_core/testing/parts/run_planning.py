"""Running budgets, partitions, mergers and position policies; see `scope_core.testing.parts.run_tensors`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_core.errors import BudgetError
from scope_core.structures.layout import Layout, Span
from scope_core.structures.selection import Selection
from scope_core.testing.failures import PropertyViolation
from scope_core.testing.parts.run_tensors import Plane, Scene, floats, of_shape


def groupings(layout: Layout) -> dict[str, tuple[tuple[Span, ...], ...]]:
    """The same tokens grouped by image, by tile and by prompt."""
    images = tuple((Span(number, 0, image.tokens),) for number, image in enumerate(layout.images))
    tiles = tuple(
        (Span(number, sum(image.tiles[:tile]), sum(image.tiles[: tile + 1])),)
        for number, image in enumerate(layout.images)
        for tile in range(len(image.tiles))
    )
    prompts = tuple(
        tuple(span for (span,) in images if layout.images[span.image].prompt == prompt)
        for prompt in sorted({image.prompt for image in layout.images})
    )
    return {"by image": images, "by tile": tiles, "by prompt": prompts}


def counted(made: Any, limits: Sequence[int], what: str) -> tuple[int, ...]:
    """The counts of a budget; refused unless they are whole numbers within the limits."""
    try:
        counts = tuple(made)
    except TypeError:
        raise PropertyViolation(
            f"{what} returned {type(made).__name__}; expected a tuple of {len(limits)} ints"
        ) from None
    fine = all(type(count) is int and 0 <= count <= most for count, most in zip(counts, limits, strict=False))
    if len(counts) != len(limits) or not fine:
        raise PropertyViolation(
            f"{what} returned {counts}; expected {len(limits)} ints, each between 0 and {tuple(limits)}"
        )
    return counts


def budget(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a budget part."""
    made = {}
    for name, groups in groupings(scene.layout).items():
        sizes = [sum(span.tokens for span in group) for group in groups]
        try:
            counts = counted(part.plan(scene.layout, groups), sizes, f"plan() {name}")
        except BudgetError:  # the budget cannot be met here, which is a valid result
            made[f"plan() {name}"] = Plane(torch.tensor([-1]), "-")
            continue
        made[f"plan() {name}"] = Plane(torch.tensor(counts), "-")
        if part.adaptive and len(groups) == len(scene.tokens.valid):
            refined = counted(part.refine(counts, scene.tokens), counts, "refine()")
            made[f"refine() {name}"] = Plane(torch.tensor(refined), "-")
    return made


def partition(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a partition part."""
    groups = part.split(scene.layout)
    rows = []
    for number, group in enumerate(groups):
        for span in group:
            if not isinstance(span, Span):
                raise PropertyViolation(
                    f"split() returned {span!r} in group {number}; expected groups of scope_core.parts.Span"
                )
            rows.append([number, span.image, span.start, span.stop])
    return {"split()": Plane(torch.tensor(rows).reshape(-1, 4), "-")}


def weights_of(part: Any, scene: Scene, share: float = 0.5) -> tuple[Selection, list[tuple[int, int]], Tensor | None]:
    """``(selection, extra rows of each group, weights)`` of a merger, checked for their form."""
    tokens, order = scene.tokens, scene.order()
    rows = [max(1, int(len(row) * share)) if row else 0 for row in order]
    extra = []
    for count, mine in zip(map(len, order), rows, strict=True):
        made = part.extra(count, mine) if mine else (0, 0)
        if not (isinstance(made, tuple) and len(made) == 2 and all(type(n) is int and n >= 0 for n in made)):
            raise PropertyViolation(f"extra({count}, {mine}) returned {made!r}; expected (rows before, rows after)")
        extra.append(made)
    picks = [row[: max(0, mine - sum(added))] for row, mine, added in zip(order, rows, extra, strict=True)]
    allotted = tuple(len(row) + sum(added) for row, added in zip(picks, extra, strict=True))
    most = max(map(len, picks))
    padded = [row + [-1] * (most - len(row)) for row in picks]
    table = torch.tensor(padded, dtype=torch.int64).reshape(len(picks), most)  # also if no group keeps anything
    worth = scene.rank.gather(1, table.clamp(min=0)).masked_fill(table < 0, torch.nan)
    selection = Selection(scene.note("selection.picks", table), worth, worth, tokens, allotted=allotted)
    weights = part.weights(selection)
    if weights is None:
        return selection, extra, None
    front, behind = (max(added[side] for added in extra) for side in (0, 1))
    shape = (len(picks), front + most + behind, tokens.shape[1] + bool(part.uses_cls))
    return selection, extra, floats(weights, shape, "weights()", scene)


def merger(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a merger part."""
    selection, extra, weights = weights_of(part, scene)
    if weights is None:
        return {}
    batch, count, _ = scene.tokens.shape
    front = max(before for before, _ in extra)
    kept = selection.picks.shape[1]
    of_kept = weights.new_zeros(batch, count, count)
    more = weights.new_zeros(batch, weights.shape[1] - kept, weights.shape[2])
    for group, line in enumerate(selection.arranged.tolist()):
        for place, token in enumerate(line):
            if token >= 0:
                of_kept[group, token] = weights[group, front + place, :count]
        before, after = extra[group]
        own = [*range(before), *range(front + kept, front + kept + after)]
        more[group, : len(own)] = weights[group, own]
    made = {
        "weights() of kept tokens": Plane(of_kept, "BNN"),
        "weights() of more rows": Plane(more[..., :count], "BEN"),
    }
    if part.uses_cls:
        made["weights() of CLS"] = Plane(more[..., count], "BE")
    return made


def positions(scene: Scene, *, whole: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """``(full, index, kept)`` of a prompt of 3 text tokens around the visual tokens of each group."""
    valid = scene.tokens.valid
    batch, count = valid.shape
    keep = torch.ones(batch, count + 3, dtype=torch.bool)
    keep[:, 1:-2] = valid if whole else valid & (scene.rank > 0.5)
    full = torch.arange(count + 3).expand(batch, -1).clone()
    rows = [row.nonzero().flatten() for row in keep]
    index = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    kept = torch.arange(index.shape[1]) < keep.sum(1)[:, None]
    return scene.note("full", full), scene.note("index", index), scene.note("kept", kept)


def numbered(part: Any, scene: Scene, *, whole: bool = False) -> Tensor | None:
    """(B, L') position ids of a policy, checked for their form; None if the model numbers the tokens."""
    full, index, kept = positions(scene, whole=whole)
    made = part.position_ids(full, index, kept)
    if made is None:
        return None
    made = of_shape(made, index.shape, "position_ids()", scene.tokens)
    if made.dtype != torch.int64:
        raise PropertyViolation(f"position_ids() returned dtype {made.dtype}; expected torch.int64")
    return made


def position(part: Any, scene: Scene) -> dict[str, Plane]:
    """One run of a position part."""
    made = numbered(part, scene)
    return {} if made is None else {"position_ids()": Plane(made, "BL")}
