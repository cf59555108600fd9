"""Random specs on random tokens: what was selected is a selection, and greedy by an independent reference."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from drawing import check

import scope_core as scope
from fuzz import reference, specs
from fuzz.explore import Amount, Tally, explore, refusing
from fuzz.inputs import HALF, Given, Shape, given, shape
from scope_core import Layout, Pruner, Selection, VisualTokens
from scope_core.structures.signals import FAMILIES

BLAMED = (scope.PluginOutputError, scope.PluginError)
"""All parts are built in, so an error that blames a part is a finding."""


def test_bare_tensors(amount: Amount) -> None:
    explore("bare", bare, amount, few=400)


def bare(source: Random, tally: Tally) -> None:
    like = shape(source)
    with refusing():
        pruner = Pruner(specs.spec(source, like.sizes))
    image, layout = like, like.layout
    for stage in pruner.stages:
        drawn = given(source, image, stage.needs)
        selection, plan = selected(stage, drawn, layout)
        judge(stage, drawn, image, layout, selection, plan, tally)
        tally.more["later stages"] += stage.number > 0
        kept = list(selection.row_counts)
        if 0 in kept:
            return
        image = Shape(tuple(((0, count),) for count in kept), like.prompts, like.width)
        layout = layout.after(kept)


def selected(stage: Any, drawn: Given, layout: Layout) -> tuple[Selection, scope.Plan]:
    """What the stage answers, or its refusal."""
    plain = drawn.kind == "normal" and drawn.saliency in ("", "random")
    with refusing(*(BLAMED if plain else ())):
        plan = stage.plan(layout)
        return stage.prune(drawn.tokens, layout), plan


def judge(
    stage: Any, drawn: Given, like: Shape, layout: Layout, selection: Selection, plan: scope.Plan, tally: Tally
) -> None:
    """All that has to hold of a selection."""
    tokens = drawn.tokens
    check(selection, stage, plan, tokens, layout)
    receipt = stage.receipt(selection, layout)
    assert [image.kept for image in receipt.images] == list(selection.row_counts)
    assert [image.tokens for image in receipt.images] == like.sizes
    budget = stage.spec.budget.model_dump()
    merger = stage.spec.merger.name
    if stage.spec.partition.name == "image" and not stage.parts["selector"].adaptive:
        try:
            assert list(selection.row_counts) == reference.counts(budget, like.tiles), stage.spec.to_yaml()
            tally.more["counts by hand"] += 1
        except reference.Unknown:
            pass
    if merger == "none" and list(selection.row_counts) == like.sizes and not stage.spec.constraints:
        assert selection.mask.equal(tokens.valid)
    cells_are_kept(stage, tokens, selection)
    greedy_by_reference(stage, drawn, selection, tally)
    rows_alone(stage, drawn, like, selection, plan, tally)
    same_ways(stage, drawn, layout, selection, tally)


def cells_are_kept(stage: Any, tokens: VisualTokens, selection: Selection) -> None:
    """Constraints on cells, from the spec's own words."""
    places = [
        [(int(r), int(c)) for r, c in zip(rows, cols, strict=True)]
        for rows, cols in zip(tokens.row.tolist(), tokens.col.tolist(), strict=True)
    ]
    for constraint in stage.spec.constraints:
        if constraint.name != "cells":
            continue
        for group, cells in enumerate(places):
            kept = {cells[token] for token in selection.picks[group].tolist() if token >= 0}
            assert not kept & {tuple(cell) for cell in constraint.drop}, stage.spec.to_yaml()
            real = {cell for cell, valid in zip(cells, tokens.valid[group].tolist(), strict=True) if valid}
            assert {tuple(cell) for cell in constraint.keep} & real <= kept, stage.spec.to_yaml()


def greedy_by_reference(stage: Any, drawn: Given, selection: Selection, tally: Tally) -> None:
    """The picks are greedy, up to rounding, by formulas that share no code with the parts."""
    spec, tokens = stage.spec, drawn.tokens
    if spec.selector.name != "composite" or spec.partition.name != "image" or spec.constraints:
        return
    optimizer = spec.selector.optimizer
    every = {"greedy": 1, "k_per_step": getattr(optimizer, "step", 1), "top_k": 10**6}.get(optimizer.name)
    computed = tokens.features.dtype if spec.dtype == "as_is" else getattr(torch, spec.dtype)
    if every is None or computed in HALF:
        return
    parts = spec.selector.model_dump()
    exact = computed == torch.float64
    for row in range(len(selection.counts)):
        picks = [token for token in selection.picks[row].tolist() if token >= 0]
        try:
            found = reference.shortfalls(parts, group_of(tokens, row, computed), picks, every)
        except reference.Unknown:
            tally.more["rows without reference"] += 1
            return
        grid = 1e-12 if parts["coverage"]["name"] == "text_facility_location" else 0.0  # softmax: its rows are up to 1
        for step, (short, size) in enumerate(found):
            rounding = torch.finfo(computed).eps * tokens.shape[1] * found[0][1]  # of what is covered so far
            allowed = (1e-7 if exact else 3e-4) * max(size, 1e-30) + rounding + grid
            assert short <= allowed, f"row {row}, step {step}: {short} below the best of {size}\n{spec.to_yaml()}"
        tally.more["rows by reference"] += 1


def group_of(tokens: VisualTokens, row: int, dtype: torch.dtype) -> reference.Group:
    """One image without its padding, for the reference, rounded to the dtype that selection computes in."""
    real = tokens.valid[row]

    def cut(name: str, tensor: torch.Tensor) -> Any:
        axis = scope_axis(name.split("[")[0], tensor, tokens.shape[1])
        one = tensor[row].to(dtype).double()
        return (one if axis is None else one.index_select(axis - 1, real.nonzero().flatten())).numpy()

    return reference.Group(
        tokens.features[row, real].to(dtype).double().numpy(),
        {name: cut(name, tokens.signals[name]) for name in tokens.signals},
        tokens.row[row, real].numpy(),
        tokens.col[row, real].numpy(),
        tokens.tile[row, real].numpy(),
        tokens.required[row, real].numpy(),
        None if tokens.saliency is None else tokens.saliency[row, real].to(dtype).double().numpy(),
    )


def rows_alone(stage: Any, drawn: Given, like: Shape, selection: Selection, plan: scope.Plan, tally: Tally) -> None:
    """An image alone, and the batch in reverse, select what the batch selected; near ties aside."""
    spec, budget = stage.spec, stage.spec.budget.model_dump()
    shared = any(len({span.image for span in group}) > 1 for group in plan.groups)
    joint = any(getattr(part.spec, "over", "") == "call" for part in stage.walk())
    joint |= any(constraint.name == "cells" for constraint in spec.constraints)  # one image of a call must have them
    if shared or joint or budget.get("per") == "total" or stage.number or len(like.sizes) == 1:
        return
    orders = [[row] for row in range(len(like.sizes))] + [list(reversed(range(len(like.sizes))))]
    for order in orders:
        part = like.only(order)
        tokens = some(drawn.tokens, order, max(part.sizes))
        again = stage.prune(tokens, part.layout)
        for place, row in enumerate(order):
            assert again.row_counts[place] == selection.row_counts[row] or not plan.exact, spec.to_yaml()
            if again.counts[place] != selection.counts[row]:
                continue
            same_picks(selection, row, again, place, drawn, spec)
    tally.more["batches taken apart"] += 1


def same_picks(one: Selection, row: int, other: Selection, place: int, drawn: Given, spec: Any) -> None:
    """Equal picks, up to the first near tie."""
    count = one.counts[row]
    left, right = one.picks[row, :count].tolist(), other.picks[place, :count].tolist()
    if left == right or not drawn.plain:
        return
    step = next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
    a, b = float(one.scores[row, step]), float(other.scores[place, step])
    size = max(one.scores[row, :count].abs().max().item(), 1e-12)
    loose = 1e-4 if spec.dtype != "float64" else 1e-9
    assert abs(a - b) <= loose * size, f"row {row} step {step}: {left} or {right}, scores {a} {b}\n{spec.to_yaml()}"


def some(tokens: VisualTokens, order: list[int], count: int) -> VisualTokens:
    """Some of the images, in another order, with less padding."""
    index = torch.tensor(order)
    full = tokens.shape[1]

    def cut(name: str, tensor: torch.Tensor) -> torch.Tensor:
        tensor, family = tensor[index], name.split("[")[0]
        axis = scope_axis(family, tensor, full)
        return tensor if axis is None else tensor.narrow(axis, 0, count)

    planes = {name: getattr(tokens, name)[index, :count] for name in ("valid", "required", "row", "col", "tile")}
    weights = None if tokens.saliency is None else tokens.saliency[index, :count]
    signals = {name: cut(name, tokens.signals[name]) for name in tokens.signals}
    return VisualTokens.of(tokens.features[index, :count], signals=signals, saliency=weights, **planes)


def scope_axis(family: str, tensor: torch.Tensor, count: int) -> int | None:
    """The axis of a signal that runs over visual tokens."""
    axes = FAMILIES[family].split()
    if "N" not in axes:
        return None
    assert tensor.shape[axes.index("N")] == count
    return axes.index("N")


def same_ways(stage: Any, drawn: Given, layout: Layout, selection: Selection, tally: Tally) -> None:
    """The loop, the kernels and blocks of greedy selection pick the same."""
    spec = stage.spec
    if spec.selector.name != "composite" or spec.selector.optimizer.name != "greedy":
        return
    for path in ("loop", "compiled", "blocks"):
        table = {**spec.to_dict(), "optimizer": {"name": "greedy", "path": path}}
        table.pop("then", None)
        try:
            other = Pruner(table).prune(drawn.tokens, layout)
        except scope.SpecError:
            continue
        tally.more[f"greedy by {path}"] += 1
        exact = path != "blocks"
        for row, count in enumerate(selection.counts):
            if exact:
                assert other.picks[row, :count].equal(selection.picks[row, :count]), (path, spec.to_yaml())
            else:
                same_picks(selection, row, other, row, drawn, spec)
