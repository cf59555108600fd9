"""Results computed from replies: accuracies with intervals, comparisons with controls, and a ranking in groups."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scope_bench.accuracy.budgets import Keep, ordered
from scope_bench.accuracy.methods import FULL, Method
from scope_bench.accuracy.runner import THETAS, Run
from scope_bench.accuracy.statistics import (
    DRAWS,
    LEVEL,
    MIN_GROUPS,
    Bootstrap,
    clear_of_zero,
    interval,
    sign_test,
    tiers,
)
from scope_core.tasks import Outcome, Question

SIZES = ((0.0, 40.0, "< 40 px"), (40.0, 80.0, "40-80 px"), (80.0, math.inf, ">= 80 px"))
"""Buckets of `Question.size`."""

Results = dict[str, Any]


class Scores:
    """The answers of all methods to the same questions, as numbers.

    Attributes:
        questions: All questions, scene by scene.
        correct: ``{label: (Q,) 0 or 1}``.
        bootstrap: Draws of groups of scenes.
    """

    def __init__(self, run: Run) -> None:
        pairs = [(scene, question) for scene in run.scenes for question in scene.example.questions]
        self.questions: list[Question] = [question for _, question in pairs]
        self.bootstrap = Bootstrap([scene.group for scene, _ in pairs], seed=run.settings.seed)
        self.correct = {
            label: torch.tensor([float(reply["correct"]) for row in rows for reply in row["replies"]])
            for label, rows in run.rows.items()
        }
        self.draws = {label: self.bootstrap.shares(correct) for label, correct in self.correct.items()}
        self.subsets = _subsets(self.questions)

    def share(self, label: str, among: Tensor | None = None) -> dict[str, Any]:
        """Accuracy on all questions, or on those in ``among``, with its interval."""
        correct = self.correct[label]
        chosen = torch.ones(len(correct), dtype=torch.bool) if among is None else among
        draws = self.draws[label] if among is None else self.bootstrap.shares(correct, among)
        return {
            "accuracy": float(correct[chosen].mean()),
            "interval": interval(draws),
            "questions": int(chosen.sum()),
        }

    def difference(self, one: str, other: str, comparisons: int = 1) -> dict[str, Any]:
        """Difference in accuracy of ``one`` to ``other``, with wins and losses by group of scenes."""
        gap = self.correct[one] - self.correct[other]
        sums = torch.zeros(self.bootstrap.count).index_add(0, self.bootstrap.cluster, gap)
        wins, losses = int((sums > 0).sum()), int((sums < 0).sum())
        draws = self.draws[one] - self.draws[other]
        return {
            "difference": float(gap.mean()),
            "interval": interval(draws),
            "wins": wins,
            "ties": self.bootstrap.count - wins - losses,
            "losses": losses,
            "p": sign_test(wins, losses),
            "separated": self.separated(one, other, comparisons),
        }

    def separated(self, one: str, other: str, comparisons: int) -> bool:
        """True if the two methods differ significantly, corrected for the number of comparisons."""
        enough = self.bootstrap.count >= MIN_GROUPS
        return enough and clear_of_zero(self.draws[one] - self.draws[other], comparisons)


def results_of(run: Run) -> Results:
    """The whole report, as plain data for JSON."""
    scores = Scores(run)
    controls = list(dict.fromkeys(method.name for method in run.methods if method.role == "control"))
    keeps = ordered([method.keep for method in run.methods if method.keep is not None])
    settings = run.settings
    return {
        "model": run.model,
        "task": str(run.task.spec.name),
        "split": settings.split,
        "seed": settings.seed,
        "examples": len(run.scenes),
        "groups": scores.bootstrap.count,
        "questions": len(scores.questions),
        "level": LEVEL,
        "draws": DRAWS,
        "thetas": list(THETAS),
        "budgets": keeps,
        "controls": controls,
        "kinds": list(scores.subsets["kinds"]),
        "sizes": list(scores.subsets["sizes"]),
        "specs": {method.name: method.facts["spec"] for method in run.methods if method.role != "bound"},
        "skipped": [{"name": one.method.name, "keep": one.method.keep, "why": one.why} for one in run.skipped],
        "runs": [_result(run, method, scores) for method in run.methods],
        "pairs": {str(keep): _pairs(run, keep, scores) for keep in keeps},
        "ranking": {str(keep): _ranking(run, keep, scores) for keep in keeps},
    }


def _result(run: Run, method: Method, scores: Scores) -> dict[str, Any]:
    rows, label = run.rows[method.label], method.label
    full = scores.draws.get(FULL)
    return {
        "name": method.name,
        "keep": method.keep,
        "role": method.role,
        **scores.share(label),
        "of_full": None if full is None else _ratio(scores, label),
        **{
            group: {name: scores.share(label, among) for name, among in subsets.items()}
            for group, subsets in scores.subsets.items()
        },
        "metrics": dict(run.task.metrics(_outcomes(run, rows))),
        "kept": _mean([row["kept"] for row in rows]),
        "coverage": _columns([row["coverage"] for row in rows]),
        "objects": _mean([kept for row in rows for kept in row["objects"] or ()]),
        "select_ms": _median([row["select_ms"] for row in rows]),
        "first_token_ms": _median([row.get("first_token_ms") for row in rows]),
        "timed": sorted({row.get("timed", "") for row in rows}),
    }


def _pairs(run: Run, keep: Keep, scores: Scores) -> dict[str, dict[str, Any]]:
    """``{name: {other: difference}}`` of all pairs of methods at one budget."""
    names = _methods(run, keep)
    pairs = len(names) * (len(names) - 1) // 2
    return {
        name: {other: scores.difference(label, rest, pairs) for rest, other in names.items() if rest != label}
        for label, name in names.items()
    }


def _ranking(run: Run, keep: Keep, scores: Scores) -> list[list[str]]:
    """Methods at one budget, best first, grouped where they are not separated."""
    names = _methods(run, keep)
    pairs = max(len(names) * (len(names) - 1) // 2, 1)
    order = sorted(names, key=lambda label: -float(scores.correct[label].mean()))
    found = tiers(order, lambda a, b: scores.separated(a, b, pairs))
    return [[names[label] for label in tier] for tier in found]


def _methods(run: Run, keep: Keep) -> dict[str, str]:
    """``{label: name}`` of all methods except bounds."""
    return {method.label: method.name for method in run.methods if method.keep == keep and method.role != "bound"}


def _ratio(scores: Scores, label: str) -> dict[str, Any] | None:
    """Accuracy as a share of the full model's; None if that is 0."""
    if not bool(scores.correct[FULL].any()):
        return None
    of = scores.correct[label].mean() / scores.correct[FULL].mean()
    return {"share": float(of), "interval": interval(scores.draws[label] / scores.draws[FULL])}


def _subsets(questions: Sequence[Question]) -> dict[str, dict[str, Tensor]]:
    """``{group: {name: (Q,) bool}}`` of all subsets of questions that accuracy is reported for."""
    kinds = list(dict.fromkeys(question.kind for question in questions))
    tags = list(dict.fromkeys(tag for question in questions for tag in question.tags))
    sizes = {
        name: torch.tensor([q.size is not None and low <= q.size < high for q in questions])
        for low, high, name in SIZES
    }
    return {
        "kinds": {kind: torch.tensor([question.kind == kind for question in questions]) for kind in kinds},
        "sizes": {name: among for name, among in sizes.items() if bool(among.any())},
        "tags": {tag: torch.tensor([tag in question.tags for question in questions]) for tag in tags},
    }


def _outcomes(run: Run, rows: Sequence[dict[str, Any]]) -> list[Outcome]:
    return [
        Outcome(scene.example.id, scene.group, question, reply["reply"], reply["correct"])
        for scene, row in zip(run.scenes, rows, strict=True)
        for question, reply in zip(scene.example.questions, row["replies"], strict=True)
    ]


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _median(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return statistics.median(known) if known else None


def _columns(rows: Sequence[Sequence[float] | None]) -> dict[str, float] | None:
    known = [row for row in rows if row is not None]
    if not known:
        return None
    return {
        str(theta): statistics.fmean(column) for theta, column in zip(THETAS, zip(*known, strict=True), strict=True)
    }
