"""Properties of budgets, partitions, position policies and mergers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch

from scope_core.errors import BudgetError, SpecError
from scope_core.structures.layout import Layout
from scope_core.structures.signals import parse_signal
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.run_planning import groupings, numbered, positions, weights_of
from scope_core.testing.parts.runs import run, scene_of
from scope_core.testing.parts.subject import Subject, validated


def plans(subject: Subject, layout: Layout, **options: object) -> dict[str, tuple[int, ...] | None]:
    """Counts by image, by tile and by prompt; None if the budget cannot be met."""
    spec = validated(subject.record, subject.registry, {**subject.options, **options})
    budget = subject.registry.build("budget", spec)
    made: dict[str, tuple[int, ...] | None] = {}
    for name, groups in groupings(layout).items():
        try:
            made[name] = tuple(budget.plan(layout, groups))
        except BudgetError:
            made[name] = None
        except Exception as error:  # third-party code may raise anything
            raise PropertyViolation(f"plan() {name} {raised(error)}") from error
    return made


def layout_alone_decides(subject: Subject, case: Case) -> None:
    """Counts and groups depend on the layout alone."""
    first, _, again = (run(subject, scene_of(subject, c)) for c in (case, replace(case, seed=case.seed + 1), case))
    other = run(subject, scene_of(subject, replace(case, seed=case.seed + 1)))
    for name, plane in first.items():
        for one in (again, other):
            if not name.startswith("refine") and not torch.equal(one[name].values, plane.values):
                raise PropertyViolation(
                    f"{name} gave {one[name].values.tolist()} and {plane.values.tolist()} for one layout"
                )


def some_images_meet_the_budget(subject: Subject, case: Case) -> None:
    """Some images meet the budget: it is not refused for all of them."""
    layouts = [case.layout, *(Layout.of([size, [size, size]]) for size in (2, 9, 64, 576, 2880))]
    if not any(counts is not None for layout in layouts for counts in plans(subject, layout).values()):
        raise PropertyViolation("plan() raised BudgetError for images of 2, 9, 64, 576 and 2880 tokens")


def regrouping_keeps_the_total(subject: Subject, case: Case) -> None:
    """An image keeps the same number of tokens however it is divided into groups, as `additive` says."""
    made = plans(subject, case.layout)
    totals = {name: None if counts is None else sum(counts) for name, counts in made.items()}
    if len(set(totals.values())) > 1:
        raise PropertyViolation(f"it keeps {totals} tokens in all, of {case.sizes}, and `additive` is True")


def larger_numbers_keep_no_fewer_tokens(subject: Subject, case: Case) -> None:
    """A larger number keeps no fewer tokens in all."""
    kind, field = subject.record.spec.shorthand or (int, "")
    before: dict[str, int] = {}
    for number in (1, 2, 3, 5, 8) if kind is int else (0.1, 0.25, 0.5, 0.9, 1.0):
        try:
            made = plans(subject, case.layout, **{field: number})
        except SpecError:
            continue
        for name, counts in made.items():
            if counts is None:
                continue
            if sum(counts) < before.get(name, 0):
                raise PropertyViolation(
                    f"with {field}={number} it keeps {sum(counts)} tokens {name}; with a smaller number, {before[name]}"
                )
            before[name] = sum(counts)


def every_token_is_in_one_group(subject: Subject, case: Case) -> None:
    """Every token is in exactly one group, and every group has a span."""
    for layout in (case.layout, Layout.of([4, 0, 1]), Layout.of([]), Layout.of([[2, 0, 3], [1]], prompts=[1, 0])):
        try:
            groups = [list(group) for group in subject.part().split(layout)]
        except Exception as error:  # third-party code may raise anything
            raise PropertyViolation(
                f"for images of {[image.tiles for image in layout.images]} tokens, it {raised(error)}"
            ) from error
        seen = [(span.image, token) for group in groups for span in group for token in range(span.start, span.stop)]
        every = [(number, token) for number, image in enumerate(layout.images) for token in range(image.tokens)]
        if sorted(seen) != every:
            lost, twice = sorted(set(every) - set(seen)), sorted({at for at in seen if seen.count(at) > 1})
            raise PropertyViolation(
                f"for images of {[image.tiles for image in layout.images]} tokens: (image, token) {lost[:3]} are in no "
                f"group, {twice[:3]} in several, {sorted(set(seen) - set(every))[:3]} do not exist"
            )
        if not all(groups):
            raise PropertyViolation(
                f"for images of {[image.tiles for image in layout.images]} tokens a group has no spans"
            )


def full_prompts_keep_their_positions(subject: Subject, case: Case) -> None:
    """If no token was dropped, positions are those of the full prompt, or left to the model."""
    scene = scene_of(subject, Case(groups=(case.groups[0],), seed=case.seed))
    made = numbered(subject.part(), scene, whole=True)
    if made is not None and not torch.equal(made, positions(scene, whole=True)[0]):
        raise PropertyViolation(f"with every token kept the positions are {made.tolist()}")


def positions_rise_without_gaps(subject: Subject, case: Case) -> None:
    """Positions rise, without gaps unless `gapped` says so."""
    scene = scene_of(subject, case)
    part = subject.part()
    made = numbered(part, scene)
    if made is None:
        return
    for row, kept in zip(made.tolist(), positions(scene)[2].tolist(), strict=True):
        line = [place for place, there in zip(row, kept, strict=True) if there]
        steps = [after - before for before, after in pairwise(line)]
        if any(step <= 0 for step in steps):
            raise PropertyViolation(f"positions {line} do not rise")
        if not part.gapped and any(step > 1 for step in steps):
            raise PropertyViolation(f"positions {line} skip some, and `gapped` is False")


def weights_fill_the_promised_rows(subject: Subject, case: Case) -> None:
    """There are as many rows as promised, all finite and without weight on padding or forbidden tokens."""
    scene = scene_of(subject, case)
    part = subject.part()
    for share in (0.3, 0.6, 1.0):
        scene = scene_of(subject, case, scene.tokens.without(scene.rank > 0.8) if share < 0.5 else scene.tokens)
        try:
            with torch.no_grad():
                selection, extra, weights = weights_of(part, scene, share)
        except PropertyViolation:
            raise
        except Exception as error:  # third-party code may raise anything
            raise PropertyViolation(raised(error)) from error
        if weights is None:
            if any(map(sum, extra)):
                raise PropertyViolation(f"extra() promised rows {extra}, and weights() returned None")
            continue
        if not part.mixes:
            raise PropertyViolation("`mixes` is False, and weights() returned weights; expected None")
        front = max(before for before, _ in extra)
        for group, (mine, (before, after)) in enumerate(zip(selection.counts, extra, strict=True)):
            behind = front + selection.picks.shape[1]
            used = [*range(before), *range(front, front + mine), *range(behind, behind + after)]
            for row in used:
                line = weights[group, row]
                if not bool(torch.isfinite(line).all()):
                    raise PropertyViolation(
                        f"row {row} of group {group} holds numbers that are not finite: {line.tolist()}"
                    )
                gone = line[: scene.tokens.shape[1]].ne(0) & ~scene.tokens.valid[group]
                if bool(gone.any()):
                    raise PropertyViolation(
                        f"row {row} of group {group} gives weight to token {int(gone.nonzero()[0])}, which is padding "
                        f"or must be dropped (tokens.valid is False)"
                    )


def extra_rows_are_declared_consistently(subject: Subject, case: Case) -> None:
    """`extra` depends on its arguments alone, and `uses_cls` goes with exactly one `vision.cls` signal."""
    part = subject.part()
    for tokens in (1, 2, 6, 40):
        for count in range(1, tokens + 1, max(1, tokens // 4)):
            made = [subject.part().extra(tokens, count), part.extra(tokens, count)]
            if made[0] != made[1]:
                raise PropertyViolation(f"extra({tokens}, {count}) returned {made[0]} and then {made[1]}")
    needs = {name for one in part.walk() for name in one.needs if parse_signal(name)[0] == "vision.cls"}
    if part.uses_cls and len(needs) != 1:
        raise PropertyViolation(
            f"`uses_cls` is True, and it needs {sorted(needs) or 'no vision.cls signal'}; expected exactly one"
        )
