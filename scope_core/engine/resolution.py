"""A check that tokens which are picked in the order of their indices are equal by the parts' formulas.

Numbers too small or too large for a dtype make scores equal that are not, and so do similarities that are too small
beside the constant that a coverage function subtracts them from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from scope_core.errors import ScopeError, TokensError
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks

_EPS = torch.finfo(torch.float64).eps
_TOKENS = 512
"""Tokens of a group that are scored again."""


def check_resolution(picks: Picks, problem: Problem, keep: Sequence[int]) -> None:
    """Refuse picks in the order of their indices where only the dtype makes scores equal.

    Raises:
        TokensError: at some pick all scores are equal, and in float64 differ by more than that rounds, or would for
            similarities of another scale.
    """
    for group, step in _suspects(picks, problem, keep):
        few, before = _few(picks, problem, group, step)
        try:
            with torch.no_grad():
                given, _ = _scores(few, before)
                equal = len(given) > 1 and bool((given == given[0]).all())
                fault = _fault(few, before, given) if equal else ""
        except ScopeError:
            continue  # float64 refuses what was scored: not a matter of the dtype
        if fault:
            raise TokensError(fault)


def _fault(few: Problem, before: Sequence[int], given: Tensor) -> str:
    """What to tell of equal scores that differ in float64, or for similarities whose largest is 1; "" if none do."""
    precise = replace(few, tokens=few.tokens.to_dtype(torch.float64))
    exact, gain = _scores(precise, before)
    parts = f"combiner {few.combiner}, coverage {few.coverage}, similarity {few.metric}"
    where, dtype = few.tokens.name_of(0), str(few.tokens.features.dtype)[6:]
    if _spread(exact) > _rounding(precise, exact, gain):
        return (
            f"{where}: every token has score {float(given[0]):.4g} in {dtype}, so tokens would be kept by their index; "
            f"in float64 scores differ, up to {float(exact.max()):.4g} ({parts}). Use `dtype: float64`, or features "
            f"and saliency of another scale"
        )
    most = 0.0 if precise.similarity is None else float(precise.similarity.abs().max())
    if not 0 < most < 1:
        return ""
    larger = replace(precise)
    larger.__dict__["similarity"] = precise.similarity / most  # type: ignore[operator]  # None has no maximum
    exact, gain = _scores(larger, before)
    if _spread(exact) > _rounding(larger, exact, gain):
        return (
            f"{where}: every token has score {float(given[0]):.4g}, so tokens would be kept by their index: "
            f"similarities of at most {most:.4g} are too small beside the numbers that they are added to ({parts}). "
            f"Use a similarity of another scale, such as the cosine"
        )
    return ""


def _suspects(picks: Picks, problem: Problem, keep: Sequence[int]) -> list[tuple[int, int]]:
    """(group, step) of the first pick by score, and of the next, where these are the first candidates, of equal scores.

    Required tokens are picked before, whatever they score. A first score of 0 is enough. At the first pick scores may
    be equal by formula, and differ only at the second.
    """
    tokens, score, pick = problem.tokens, picks.scores, picks.picks
    if score.shape[1] == 0 or not tokens.shape[1]:
        return []
    start, head = [0] * len(score), score[:, :2]
    if any(tokens.n_required):
        start = list(tokens.n_required)
        place = torch.tensor(start, device=score.device)[:, None] + torch.arange(2, device=score.device)
        head = pad(score, (0, 2), value=torch.nan).gather(1, place)
    found = list[tuple[int, int]]()
    for group, (at, highest) in enumerate(zip(start, head.tolist(), strict=True)):
        if highest[0] != 0 and highest[:1] != highest[1:]:
            continue
        given = score[group, at : keep[group]]
        if not len(given) or (not problem.combiner.uses_coverage and bool((given != given[0]).any())):
            continue  # scores never change, and these differ
        first = (tokens.valid & ~tokens.required)[group].nonzero().flatten()[:2]
        if keep[group] < tokens.n_valid[group] and int(pick[group, at]) == int(first[0]):
            found.append((group, at))
            if len(given) > 1 and bool((pick[group, at : at + 2] == first).all()) and given[0] == given[1]:
                found.append((group, at + 1))
    return found


def _few(picks: Picks, problem: Problem, group: int, step: int) -> tuple[Problem, list[int]]:
    """The problem with few tokens of one group, and the picks before a step as indices of these tokens."""
    tokens, count = problem.tokens, problem.tokens.shape[1]
    before = picks.picks[group, :step]
    first = torch.zeros(count, dtype=torch.bool, device=tokens.device)
    first[before] = True
    others = (tokens.valid[group] & ~first).nonzero().flatten()[:_TOKENS]
    index = torch.cat([before, others]).sort().values
    place = torch.searchsorted(index, before)
    return replace(problem, tokens=tokens.regroup((index + group * count)[None]), memory=None), place.tolist()


def _scores(problem: Problem, before: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(candidates,) scores after some picks, and the (1, N) gains that they are computed from."""
    tokens = problem.tokens
    left = tokens.valid[0].clone()
    left[list(before)] = False
    if not problem.combiner.uses_coverage:
        gain = tokens.features.new_ones(tokens.shape[:2])
        return problem.score(gain)[0, left], gain
    state = problem.start()
    for pick in before:
        state = problem.add(state, torch.tensor([pick], device=tokens.device))
    gain = problem.gain(state)
    return problem.score(gain)[0, left], gain


def _rounding(problem: Problem, scores: Tensor, gain: Tensor) -> float:
    """A bound of what rounding in float64 changes in the scores.

    Gains are differences of similarities, so they are rounded at the scale of these: tokens that are all the same have
    gains of pure rounding.
    """
    tokens, rounded = problem.tokens, 0.0
    if problem.combiner.uses_coverage and problem.similarity is not None:
        rounded = 8 * _EPS * float(problem.similarity.abs().max()) * tokens.shape[1]
    moved = (problem.score(gain + rounded) - problem.score(gain))[0, tokens.valid[0]]
    return float(moved.abs().max()) + 500 * _EPS * float(scores.abs().max())


def _spread(scores: Tensor) -> float:
    return float(scores.max() - scores.min())
