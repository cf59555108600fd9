"""Properties of optimizers and selectors: they pick exactly the tokens that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_core.engine.greedy import greedy
from scope_core.structures.picks import Picks
from scope_core.structures.selection import Selection
from scope_core.structures.tokens import VisualTokens
from scope_core.testing.failures import PropertyViolation, raised
from scope_core.testing.parts.cases import Case
from scope_core.testing.parts.run_tensors import Scene, picked, problem
from scope_core.testing.parts.runs import scene_of
from scope_core.testing.parts.stubs import Halves, Ranks
from scope_core.testing.parts.subject import Subject


def choose(subject: Subject, tokens: VisualTokens, counts: Sequence[int], scene: Scene) -> Any:
    """The result of the optimizer or selector, checked for its form."""
    part = subject.part()
    try:
        with torch.no_grad():
            if subject.kind == "optimizer":
                made, what = part.optimize(problem(tokens), counts), "optimize()"
            else:
                made, what = part.select(tokens, counts), "select()"
    except Exception as error:  # third-party code may raise anything
        raise PropertyViolation(f"asked for {tuple(counts)} tokens, it {raised(error)}") from error
    kind = Picks if subject.kind == "optimizer" else Selection
    adaptive = bool(getattr(part, "adaptive", False))
    picked(made, kind, f"asked for {tuple(counts)} tokens, {what}", scene, counts, adaptive=adaptive)
    return made


def counts_are_met_exactly(subject: Subject, case: Case) -> None:
    """As many different picks as asked for, or at most that many if the selector says that it is `adaptive`.

    Asked for none, one, half, all, or another number for every group.
    """
    scene = scene_of(subject, case)
    sizes = case.sizes
    adaptive = bool(getattr(subject.part(), "adaptive", False))
    for wanted in _counts(sizes):
        made = choose(subject, scene.tokens, wanted, scene)
        for group, (row, asked) in enumerate(zip(made.picks.tolist(), wanted, strict=True)):
            count = min(asked, len(row) - row.count(-1)) if adaptive else asked
            where = f"asked for {count} of the {sizes[group]} tokens of group {group} of {len(sizes)}"
            if any(token != -1 for token in row[count:]) or any(token < 0 for token in row[:count]):
                raise PropertyViolation(f"{where}, it picked {row}; expected {count} tokens, then -1")
            if len(set(row[:count])) != count:
                raise PropertyViolation(f"{where}, it picked a token twice: {row[:count]}")
            for column in ("gains", "scores"):
                values = getattr(made, column)[group, :count]
                if not bool(torch.isfinite(values).all()):
                    raise PropertyViolation(f"{where}, it gave {column} {values.tolist()}; expected finite numbers")


def only_candidates_are_picked(subject: Subject, case: Case) -> None:
    """No pick is padding, or a token that a constraint forbids."""
    scene = scene_of(subject, case)
    forbidden = scene.rank > 0.6
    for mask in (torch.zeros_like(forbidden), forbidden):
        tokens = scene.tokens.without(mask)
        sizes = tokens.valid.sum(1).tolist()
        for wanted in (sizes, [-(-size // 2) for size in sizes]):
            made = choose(subject, tokens, wanted, scene)
            for group, row in enumerate(made.picks.tolist()):
                wrong = [t for t in row if t >= 0 and not (t < tokens.shape[1] and bool(tokens.valid[group, t]))]
                if wrong:
                    candidates = tokens.valid[group].nonzero().flatten().tolist()
                    raise PropertyViolation(
                        f"asked for {wanted[group]} tokens of group {group}, it picked {wrong[0]}, which is "
                        f"not a candidate (tokens.valid is False); candidates: {candidates}"
                    )


def required_tokens_are_kept(subject: Subject, case: Case) -> None:
    """Tokens that must be kept are kept, even if nothing else is."""
    scene = scene_of(subject, case)
    must = (scene.rank < 0.45) & scene.tokens.valid
    tokens = scene.tokens.require(must)
    least = must.sum(1).tolist()
    for wanted in (least, [min(n + 1, size) for n, size in zip(least, case.sizes, strict=True)]):
        made = choose(subject, tokens, wanted, scene)
        for group, row in enumerate(made.picks.tolist()):
            lost = sorted(set(must[group].nonzero().flatten().tolist()) - set(row))
            if lost:
                raise PropertyViolation(
                    f"asked for {wanted[group]} tokens of group {group}, it left out {lost}, which must be kept "
                    f"(tokens.required); picks: {row}"
                )


def picks_are_those_of_exact_greedy(subject: Subject, case: Case) -> None:
    """The picks are those of exact greedy, ties to the lowest index, as `exact` says."""
    scene = scene_of(subject, case)
    for tokens in (scene.tokens, scene.tokens.require(scene.rank < 0.3)):
        for source in (Ranks, Halves):
            least = (tokens.required & tokens.valid).sum(1).tolist()
            wanted = [max(n, least[group]) for group, n in enumerate(scene.counts(0.7))]
            with torch.no_grad():
                mine = subject.part().optimize(problem(tokens, source), wanted)
                theirs = greedy(problem(tokens, source), wanted)
            if not torch.equal(mine.picks, theirs.picks):
                group = int((mine.picks != theirs.picks).nonzero()[0, 0])
                raise PropertyViolation(
                    f"it picked {mine.picks[group].tolist()} of group {group} where exact greedy picks "
                    f"{theirs.picks[group].tolist()} with scores {_short(theirs.scores[group])}, and `exact` is True"
                )


def selection_describes_its_picks(subject: Subject, case: Case) -> None:
    """The selection holds its tokens; ``stage`` and ``assigned``, if given, agree with its picks."""
    scene = scene_of(subject, case)
    made = choose(subject, scene.tokens, scene.counts(), scene)
    if made.tokens is not scene.tokens:
        raise PropertyViolation("selection.tokens is another object than the tokens that it was given")
    for column, shape in (("stage", made.picks.shape), ("assigned", scene.tokens.shape[:2])):
        tensor = getattr(made, column)
        if tensor is not None and (tuple(tensor.shape) != tuple(shape) or tensor.dtype != torch.int64):
            raise PropertyViolation(
                f"{column} is {tuple(tensor.shape)}, {tensor.dtype}; expected {tuple(shape)}, torch.int64"
            )
    if made.assigned is None:
        return
    for group, row in enumerate(made.picks.tolist()):
        kept = {token for token in row if token >= 0}
        for token, home in enumerate(made.assigned[group].tolist()):
            if (token in kept and home != token) or home not in {-1, *kept}:
                raise PropertyViolation(
                    f"assigned says that token {token} of group {group} went to {home}; kept tokens go to themselves, "
                    f"others to a kept one or to -1; kept: {sorted(kept)}"
                )


def _counts(sizes: Sequence[int]) -> list[list[int]]:
    ragged = [max(0, size - 1 - group) for group, size in enumerate(sizes)]
    return [[0] * len(sizes), [1] * len(sizes), [size // 2 for size in sizes], ragged, list(sizes)]


def _short(scores: Tensor) -> list[float]:
    return [round(score, 4) for score in scores.tolist()]
