"""Exact greedy: the loop, and faster ways to the same picks. Knows no part by name, and no model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scope_core.engine.blockwise import picks_in_blocks
from scope_core.engine.resolution import check_resolution
from scope_core.engine.validation import check_table
from scope_core.errors import PluginOutputError, SpecError
from scope_core.parts.calls import attribute_errors
from scope_core.parts.execution import WAYS, Way
from scope_core.parts.kernel import Kernel
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks
from scope_core.structures.plain import all_finite
from scope_core.structures.tokens import VisualTokens

_FEW = 256
"""Scores that are read one by one."""


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
        keep: Number of picks of each group.
        every: Number of picks before gains and scores are computed again; more than 1 is an approximation.
        among: Function that narrows the (B, N) bool mask of tokens that may be picked next; all of them if left out.
        ways: Allowed ways to compute the picks, if ``every`` and ``among`` are left out. All give the same picks.

    Returns:
        (B, max(keep)) picks with their gains and scores.

    Raises:
        SpecError: none of ``ways`` is possible with these parts.
        TooLargeError: the similarities do not fit into memory.
    """
    scores_change = problem.combiner.uses_coverage
    plain = every == 1 and among is None
    if plain and (fast := fast_picks(problem, keep, ways)) is not None:
        return fast
    ones = problem.tokens.features.new_ones(problem.tokens.shape[:2])
    if plain and not scores_change:  # greedy is a ranking
        return rank(problem.score(ones), ones, problem, keep)
    state = problem.start() if scores_change else None

    def scored() -> tuple[Tensor, Tensor]:
        gains = problem.gain(state) if scores_change else ones
        return (gains if every == 1 else gains.clone()), problem.score(gains)  # a state may be changed in place

    def add(pick: Tensor) -> None:
        nonlocal state
        state = problem.add(state, pick) if scores_change else None

    picks = take_turns(problem.tokens, keep, scored, add, every, among)
    check_picks(picks, problem, keep)
    return picks


def fast_picks(problem: Problem, keep: Sequence[int], ways: Sequence[Way] = WAYS) -> Picks | None:
    """Exact greedy's picks by the kernel or in blocks, as `plan_execution` decides; None if the loop has to make them.

    Raises:
        SpecError: the loop is not among ``ways``, and the others are not possible.
        TooLargeError: the similarities do not fit into memory.
    """
    execution, kernel, picks = problem.execution(ways), problem.coverage.kernel, None
    execution.check(problem.who)
    instead = None if kernel is None or not {"dense", "kernel"} <= {*ways} else kernel.instead
    if instead is not None and instead.why_not(problem.coverage, problem.tokens.device):
        instead = None
    if kernel is None or (execution.way == "dense" and instead is None):
        return None
    if (form := _affine_form(problem)) is not None:
        if execution.way == "blocks" and kernel.picks_in_blocks is not None:
            picks = picks_in_blocks(problem, kernel.picks_in_blocks, form, keep)
        else:
            picks = _whole(problem, kernel, form, keep) if execution.way == "kernel" else None
            picks = _whole(problem, instead, form, keep) if picks is None and instead is not None else picks
    if picks is not None:
        check_picks(picks, problem, keep)
    elif "dense" not in ways:
        path = "compiled" if "kernel" in ways else "blocks"
        raise SpecError(
            f"{problem.who()}: path '{path}' cannot handle these numbers; path 'loop' reports undefined scores, and "
            f"path 'auto' uses the loop where it has to"
        )
    return picks


def _whole(problem: Problem, kernel: Kernel, form: tuple[Tensor, Tensor], keep: Sequence[int]) -> Picks | None:
    """The kernel's picks from the whole matrix, checked for their shape; None if it cannot handle these numbers."""
    matrix = problem.similarity
    kernel = kernel.mirrored if kernel.mirrored is not None and problem.mirrored else kernel
    with attribute_errors(problem.coverage, "picks"):
        picks = kernel.picks(problem.coverage, matrix, problem.tokens, *form, keep)  # type: ignore[arg-type]
    if picks is not None:
        check_table(picks, f"coverage {problem.coverage}: picks()", keep)
    return picks


def _affine_form(problem: Problem) -> tuple[Tensor, Tensor] | None:
    """(B, N) float64 scale and offset of the score ``gain * scale + offset``; None if it is not of this form."""
    form = None if problem.combiner.affine is None else problem.combiner.affine(problem.saliency)
    if form is None:
        return None
    scale, offset = (column.double().expand(problem.tokens.shape[:2]) for column in form)
    if not all_finite(scale + offset):  # padding may hold anything, and a sum of finite numbers may be infinite
        padding = ~problem.tokens.valid
        scale, offset = scale.masked_fill(padding, 0), offset.masked_fill(padding, 0)
        if not (all_finite(scale) and all_finite(offset)):
            return None  # the loop reports the undefined score
    return scale, offset


def take_turns(
    tokens: VisualTokens,
    keep: Sequence[int],
    scored: Callable[[], tuple[Tensor, Tensor]],
    add: Callable[[Tensor], object],
    every: int = 1,
    among: Callable[[Tensor], Tensor] | None = None,
) -> Picks:
    """Pick the highest score of each group, round after round.

    Ties break to the lowest index, and required tokens come before the others.

    Args:
        tokens: The candidates.
        keep: Number of picks of each group.
        scored: Returns (B, N) gains and scores after the picks so far.
        add: Called with the (B,) picks of each round; full groups get an arbitrary index.
        every: Number of rounds before ``scored`` is called again.
        among: As for `greedy`.
    """
    gone = ~tokens.valid
    free = tokens.device.type == "cpu" and not any(tokens.n_required)  # elsewhere asking would wait
    columns: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(max(keep, default=0)):
        if step % every == 0:
            gain, score = scored()
        barred = gone if free else ~allowed(~gone, tokens.required)
        masked = score.masked_fill(barred if among is None else ~among(~barred), -torch.inf)
        highest, pick = masked.max(1, keepdim=True)
        columns.append((pick, gain.gather(1, pick), highest))
        gone.scatter_(1, pick, True)
        add(pick.squeeze(1))
    if not columns:
        empty = tokens.features.new_zeros((tokens.shape[0], 0))
        return Picks(empty.to(torch.int64), empty, empty)
    picks, gains, scores = (torch.cat(column, 1) for column in zip(*columns, strict=True))
    over = torch.arange(len(columns), device=tokens.device) >= torch.tensor(keep, device=tokens.device)[:, None]
    return Picks(picks.masked_fill(over, -1), gains.masked_fill(over, torch.nan), scores.masked_fill(over, torch.nan))


def rank(score: Tensor, gain: Tensor, problem: Problem, keep: Sequence[int], *, by_place: bool = False) -> Picks:
    """Pick the ``keep[b]`` highest scores of each group b at once; ties break to the lowest index.

    Args:
        score: (B, N).
        gain: (B, N), recorded with the picks.
        problem: Tokens and parts.
        keep: Number of picks of each group.
        by_place: True if scores follow from the tokens' places, so that they say nothing about the problem's parts.

    Raises:
        PluginOutputError: a score is not finite.
        TokensError: scores of the parts are equal because of the dtype alone.
    """
    tokens = problem.tokens
    picks = _highest(score, gain, tokens, keep) if tokens.device.type == "cpu" else None
    if picks is None:
        # three levels: required, other candidates, the rest; scores decide only within a level
        level, values = tokens.required.to(torch.int8), score
        if tokens.padded:
            level = problem.candidates + (tokens.required & problem.candidates).to(torch.int8)
            values = score.masked_fill(~problem.candidates, -torch.inf)
        by_score = values.sort(dim=1, descending=True, stable=True).indices
        by_level = level.gather(1, by_score).sort(dim=1, descending=True, stable=True).indices
        order = by_score.gather(1, by_level)[:, : max(keep, default=0)]
        picks = _cut(order, gain.gather(1, order), score.gather(1, order), keep)
    check_picks(picks, problem, keep, by_place)
    return picks


def _highest(score: Tensor, gain: Tensor, tokens: VisualTokens, keep: Sequence[int]) -> Picks | None:
    """The highest scores where nothing but the score decides; None where tokens must be kept, or scores are infinite.

    Asks for numbers, for which an accelerator would have to be waited for.
    """
    most = max(keep, default=0)
    if any(tokens.n_required) or not 0 < most <= tokens.shape[1]:
        return None
    some = tokens.padded
    highest, order = (score.masked_fill(~tokens.valid, -torch.inf) if some else score).sort(
        dim=1, descending=True, stable=True
    )
    highest, order = highest[:, :most], order[:, :most]
    if some:
        last = torch.tensor([[max(count - 1, 0)] for count in keep])
        if -math.inf in highest.gather(1, last):
            return None  # scores that may be those of tokens which cannot be picked
    return _cut(order, gain.gather(1, order), highest, keep)


def _cut(order: Tensor, gains: Tensor, scores: Tensor, keep: Sequence[int]) -> Picks:
    """The picks of groups that keep as many as others, or fewer."""
    if len(set(keep)) == 1:
        return Picks(order, gains, scores)
    short = torch.arange(order.shape[1], device=order.device) >= torch.tensor(keep, device=order.device)[:, None]
    return Picks(
        order.masked_fill(short, -1), gains.masked_fill(short, torch.nan), scores.masked_fill(short, torch.nan)
    )


def allowed(available: Tensor, required: Tensor) -> Tensor:
    """(B, N) bool: in groups with required tokens left, these; in other groups, all tokens that are left."""
    first = available & required
    return torch.where(first.any(1, keepdim=True), first, available)


def check_picks(picks: Picks, problem: Problem, keep: Sequence[int], by_place: bool = False) -> None:
    """Refuse picks whose score is not finite, or too small to differ: parts returned NaN, infinity or nothing but 0."""
    undefined = ~torch.isfinite(picks.scores) & (picks.picks >= 0) if not _finite(picks.scores) else None
    if undefined is not None and bool(undefined.any()):
        group, step = (int(i) for i in undefined.nonzero()[0])
        raise PluginOutputError(
            f"pick {step} of {problem.tokens.name_of(group)} has score {float(picks.scores[group, step])}: combiner "
            f"{problem.combiner} computed it from gain {float(picks.gains[group, step])} of coverage "
            f"{problem.coverage}; check the saliency's sign and range"
        )
    if not by_place:
        check_resolution(picks, problem, keep)


def _finite(scores: Tensor) -> bool:
    """True if no score is NaN or infinite; few are read one by one, which is faster."""
    if scores.device.type != "cpu" or scores.numel() > _FEW:
        return all_finite(scores)
    return all(map(math.isfinite, scores.flatten().tolist()))
