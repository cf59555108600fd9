"""A check that scores which are all equal are so by the parts' formulas, and not because numbers became too small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from scope_core.errors import ScopeError, TokensError
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks

_EPS = torch.finfo(torch.float64).eps
_TOKENS = 512
"""Tokens of a group that are scored again."""


def check_resolution(picks: Picks, problem: Problem, keep: Sequence[int]) -> None:
    """Refuse picks in the order of their indices where only the dtype makes all scores equal.

    Raises:
        TokensError: a group's first scores are all equal, and in float64 differ by more than that rounds.
    """
    for group in _suspects(picks, problem, keep):
        count = min(problem.tokens.shape[1], _TOKENS)
        few = replace(problem, tokens=problem.tokens.only(group, count), memory=None)
        try:
            with torch.no_grad():
                given, _ = _first(few)
                precise = replace(few, tokens=few.tokens.to_dtype(torch.float64))
                exact, gain = _first(precise)
                rounding = _rounding(precise, exact, gain)
        except ScopeError:
            continue  # float64 refuses what was scored: not a matter of the dtype
        if len(given) > 1 and bool((given == given[0]).all()) and _spread(exact) > rounding:
            dtype = str(problem.tokens.features.dtype)[6:]
            raise TokensError(
                f"{problem.tokens.name_of(group)}: every token has score {float(given[0]):.4g} in {dtype}, so tokens "
                f"would be kept by their index; in float64 scores differ, up to {float(exact.max()):.4g} (combiner "
                f"{problem.combiner}, coverage {problem.coverage}, similarity {problem.metric}). Use `dtype: float64`, "
                f"or features and saliency of another scale"
            )


def _suspects(picks: Picks, problem: Problem, keep: Sequence[int]) -> list[int]:
    """Groups whose first pick is their first candidate, with a score of 0 or that of the second pick."""
    score, valid = picks.scores, problem.tokens.valid
    if score.shape[1] == 0 or not valid.shape[1]:
        return []
    odd = score[:, 0] == 0
    if score.shape[1] > 1:
        odd = odd | (score[:, 0] == score[:, 1])
    return [
        group
        for group in odd.nonzero().flatten().tolist()
        if keep[group] < int(valid[group].sum()) and int(picks.picks[group, 0]) == int(valid[group].int().argmax())
    ]


def _first(problem: Problem) -> tuple[Tensor, Tensor]:
    """(candidates,) scores before the first pick, and the (1, N) gains that they are computed from."""
    tokens = problem.tokens
    uses = problem.combiner.uses_coverage
    gain = problem.gain(problem.start()) if uses else tokens.features.new_ones(tokens.shape[:2])
    return problem.score(gain)[0, tokens.valid[0]], gain


def _rounding(problem: Problem, scores: Tensor, gain: Tensor) -> float:
    """A bound of what rounding in float64 changes in the scores.

    Gains are differences of similarities, so they are rounded at the scale of these: tokens that are all the same have
    gains of pure rounding.
    """
    tokens, rounded = problem.tokens, 0.0
    if problem.combiner.uses_coverage and problem.similarity is not None:
        rounded = 8 * _EPS * float(problem.similarity.abs().max()) * tokens.shape[1]
    moved = problem.score(gain + rounded)[0, tokens.valid[0]] - scores
    return float(moved.abs().max()) + 500 * _EPS * float(scores.abs().max())


def _spread(scores: Tensor) -> float:
    return float(scores.max() - scores.min())
