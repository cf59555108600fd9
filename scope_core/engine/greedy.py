"""Exact greedy: the one loop, and the faster ways to the same picks. Knows no part by name and no model at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scope_core.engine.blockwise import picks_in_blocks
from scope_core.engine.validation import check_table
from scope_core.errors import PluginOutputError, SpecError
from scope_core.parts.calls import blamed
from scope_core.parts.execution import WAYS, Way
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks
from scope_core.structures.tokens import VisualTokens, all_finite


def greedy(
    problem: Problem,
    keep: Sequence[int],
    every: int = 1,
    among: Callable[[Tensor], Tensor] | None = None,
    ways: Sequence[Way] = WAYS,
) -> Picks:
    """Exact greedy: pick the highest score, add it, repeat. Ties break to the lowest index.

    Groups of unequal counts run together; required tokens are picked before the others. For a monotone
    submodular coverage used alone the result is within 1 - 1/e of the best set (Nemhauser et al. 1978);
    weighted by saliency there is no such bound.

    Args:
        problem: Tokens and parts.
        keep: How many to pick of each group.
        every: Picks before gains and scores are computed again; more than 1 is an approximation.
        among: Makes of the (B, N) tokens that may be picked next those that are looked at; all if left out.
        ways: How exact picks may be made, with ``every`` and ``among`` left out; the same picks in different time.

    Returns:
        (B, max(keep)) picks with their gains and scores.

    Raises:
        SpecError: none of ``ways`` is there.
        TooLargeError: there is no room for what has to be made.
    """
    moving = problem.combiner.uses_coverage
    gain = problem.tokens.features.new_ones(problem.tokens.shape[:2])
    if every == 1 and among is None:
        made = fast_picks(problem, keep, ways)
        if made is not None:
            return made
        if not moving:  # scores never change, so greedy is a ranking
            return rank(problem.score(gain), gain, problem, keep)
    state = problem.start() if moving else None

    def scored() -> tuple[Tensor, Tensor]:
        gains = problem.gain(state) if moving else gain
        return (gains if every == 1 else gains.clone()), problem.score(gains)  # a state may be changed in place

    def add(pick: Tensor) -> None:
        nonlocal state
        state = problem.add(state, pick) if moving else None

    made = take_turns(problem.tokens, keep, scored, add, every, among)
    check_picks(made, problem, keep)
    return made


def fast_picks(problem: Problem, keep: Sequence[int], ways: Sequence[Way] = WAYS) -> Picks | None:
    """Exact greedy's picks by the kernel or in blocks, as `plan_execution` says; None if the loop is to make them.

    Raises:
        SpecError: the loop is none of ``ways``, and the others cannot serve.
        TooLargeError: there is no room for what has to be made.
    """
    execution, kernel, made = problem.execution(ways), problem.coverage.kernel, None
    if execution.way == "refuse":
        execution.check(problem.who)
    if execution.way == "dense" or kernel is None:
        return None
    if (form := _form(problem)) is not None:
        if execution.way == "blocks" and kernel.picks_in_blocks is not None:
            made = picks_in_blocks(problem, kernel.picks_in_blocks, form, keep)
        else:
            similarity = problem.similarity
            with blamed(problem.coverage, "picks"):
                made = kernel.picks(problem.coverage, similarity, problem.tokens, *form, keep)  # type: ignore[arg-type]
            if made is not None:
                check_table(made, f"coverage {problem.coverage}: picks()", keep)
    if made is not None:
        check_picks(made, problem, keep)
    elif "dense" not in ways:
        raise SpecError(
            f"{problem.who}: {' or '.join(ways)} was asked for, and does not take these numbers: "
            f"path 'loop' says whether a score is undefined; or use path 'auto'"
        )
    return made


def _form(problem: Problem) -> tuple[Tensor, Tensor] | None:
    """(B, N) float64 scale and offset of the score; None where it is not of that form."""
    form = None if problem.combiner.affine is None else problem.combiner.affine(problem.saliency)
    if form is None:
        return None
    scale, offset = (column.double().expand(problem.tokens.shape[:2]) for column in form)
    if not (all_finite(scale) and all_finite(offset)):  # padding may hold anything
        padding = ~problem.tokens.valid
        scale, offset = scale.masked_fill(padding, 0), offset.masked_fill(padding, 0)
        if not (all_finite(scale) and all_finite(offset)):
            return None  # the loop says which score is no number
    return scale, offset


def take_turns(
    tokens: VisualTokens,
    keep: Sequence[int],
    scored: Callable[[], tuple[Tensor, Tensor]],
    add: Callable[[Tensor], object],
    every: int = 1,
    among: Callable[[Tensor], Tensor] | None = None,
) -> Picks:
    """Rounds of argmax: ties break to the lowest index, and required tokens come before the others.

    Args:
        tokens: The candidates.
        keep: How many to pick of each group.
        scored: Gives (B, N) gains and scores after the picks so far.
        add: Gets (B,) each pick; of groups that are full an arbitrary index.
        every: Picks before ``scored`` is asked again.
        among: As for `greedy`.
    """
    left = tokens.valid.clone()
    rows = torch.arange(len(left), device=tokens.device)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(max(keep, default=0)):
        if step % every == 0:
            gain, score = scored()
        candidates = allowed(left, tokens.required)
        some = score.masked_fill(~(candidates if among is None else among(candidates)), -torch.inf)
        pick = some.argmax(1)
        columns.append((pick, gain[rows, pick], some[rows, pick]))
        left[rows, pick] = False
        add(pick)
    if not columns:
        empty = tokens.features.new_zeros((tokens.shape[0], 0))
        return Picks(empty.to(torch.int64), empty, empty)
    picks, gains, scores = (torch.stack(column, 1) for column in zip(*columns, strict=True))
    over = torch.arange(len(columns), device=tokens.device) >= torch.tensor(keep, device=tokens.device)[:, None]
    return Picks(picks.masked_fill(over, -1), gains.masked_fill(over, torch.nan), scores.masked_fill(over, torch.nan))


def rank(score: Tensor, gain: Tensor, problem: Problem, keep: Sequence[int]) -> Picks:
    """The ``keep[b]`` highest scores of each group at once; ties break to the lowest index."""
    tokens = problem.tokens
    # three levels: required, candidates, the rest; scores only decide within a level
    level = problem.candidates.to(torch.int8) + (tokens.required & problem.candidates).to(torch.int8)
    by_score = score.masked_fill(~problem.candidates, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    by_level = level.gather(1, by_score).sort(dim=1, descending=True, stable=True).indices
    order = by_score.gather(1, by_level)[:, : max(keep, default=0)]
    short = torch.arange(order.shape[1], device=order.device) >= torch.tensor(keep, device=order.device)[:, None]
    made = Picks(
        order.masked_fill(short, -1),
        gain.gather(1, order).masked_fill(short, torch.nan),
        score.gather(1, order).masked_fill(short, torch.nan),
    )
    check_picks(made, problem, keep)
    return made


def allowed(available: Tensor, required: Tensor) -> Tensor:
    """(B, N) bool: the required tokens that are left, in groups that have some; else all that are left."""
    first = available & required
    return torch.where(first.any(1, keepdim=True), first, available)


def check_picks(made: Picks, problem: Problem, keep: Sequence[int]) -> None:
    """Refuse picks whose score was no finite number: some part returned NaN or infinity."""
    if all_finite(made.scores):
        return
    bad = ~torch.isfinite(made.scores) & (made.picks >= 0)
    if bool(bad.any()):
        group, step = (int(i) for i in bad.nonzero()[0])
        raise PluginOutputError(
            f"pick {step} of {problem.tokens.name_of(group)} has score {float(made.scores[group, step])}: coverage "
            f"{problem.coverage} gave gain {float(made.gains[group, step])} and combiner {problem.combiner} made that "
            f"of it; check the saliency's sign and range"
        )
