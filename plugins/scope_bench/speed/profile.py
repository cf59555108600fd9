"""The stages of a selection from tensors, each timed by itself: what a call is made of."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_bench.speed import baselines
from scope_bench.speed.inputs import Material
from scope_bench.speed.select import FLOOR, Settings, cases, check_size, given_matrix, pruners, square
from scope_bench.speed.timing import Progress, in_turns
from scope_core import Pruner, Registry, VisualTokens
from scope_core.parts import Problem, scores, similarities

SIZES = (144, 576, 729, 1024, 2880)
"""Usual numbers of tokens: of a small tower or a video's frame, of CLIP, of SigLIP at two sizes, of five tiles."""

SPEC, PARTS, TOKENS, SALIENCY = "spec, written as a table", "spec, seen before, and parts", "tokens", "saliency"
NORMALISE, MATRIX, CHECK, GRID = "normalise", "matrix", "check of the matrix", "grid"
FIRST, ROUNDS, OPTIMIZER, REST, WHOLE = "first gains", "rounds", "optimizer", "Python, other checks", "whole"
MEANINGS = {
    SPEC: "reading and checking a spec; a short form such as scope@64 is read once and remembered",
    PARTS: "what `select(..., spec='scope@64')` adds to `Pruner.select` from its second call on",
    TOKENS: "checks of the given tensors, and that features are finite",
    SALIENCY: "with its checks",
    GRID: "the grid that similarities are rounded to",
    FIRST: "gains before the first pick",
    ROUNDS: "all picks by a kernel",
    OPTIMIZER: "with similarities and saliency given, less what a kernel takes; it checks scores",
    REST: "whole less all above from tokens on: plans, checks of counts and picks, small tensors; a difference of "
    "medians, so it holds the noise of all of them, and may be below 0",
    WHOLE: "`Pruner.select`",
}
"""The stages in the order of a call, and what is not plain from their names; the first two come before the call."""


def sizes_of(tokens: Sequence[int] | None, keeps: Sequence[int] | None) -> list[tuple[int, int]]:
    """``(N, K)`` of the sizes and budgets that were asked for; by default `SIZES`, and K = 16, 64 and N / 3.

    Raises:
        BudgetError: a budget is larger than every size.
    """
    sizes = SIZES if tokens is None else tokens
    if keeps is not None:
        return cases(sizes, keeps)
    return [(size, keep) for size in sizes for keep in sorted({min(16, size), min(64, size), max(1, size // 3)})]


def profile(
    material: Material,
    sizes: Sequence[tuple[int, int]],
    spec: str,
    registry: Registry,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Median milliseconds of each stage, by size and budget.

    Args:
        material: Features.
        sizes: (N, K) pairs; from `scope_bench.speed.select.cases`.
        spec: A recipe or spec file.
        registry: The registry that names are looked up in.
        settings: Settings of the measurement.
        progress: Called with (finished rounds, all rounds).

    Raises:
        ScopeError: the spec is wrong, or cannot select from features and saliency alone.
        TaskError: a size does not fit into memory.
    """
    entries = []
    for number, (tokens, keep) in enumerate(sizes):
        pruner = pruners([spec], keep, registry)[spec]
        check_size(tokens, settings, [pruner])
        features, saliency = material.cut(tokens, settings.device, settings.dtype)
        with torch.no_grad():
            runs = stages(pruner, features, saliency, keep)
            laps = in_turns(
                runs, settings.effort, settings.device, partial(_step, progress, number, settings.effort.rounds)
            )
        facts = {name: lap.facts()[f"{settings.clock}_ms"]["median"] for name, lap in laps.items()}
        entries.append({"tokens": tokens, "keep": keep, "ms": split(facts)})
        progress((number + 1) * settings.effort.rounds, len(sizes) * settings.effort.rounds)
    return {"spec": spec, "width": material.features.shape[1], "entries": entries}


def stages(pruner: Pruner, features: Tensor, saliency: Tensor, keep: int) -> dict[str, Callable[[], Any]]:
    """Functions to time: each stage by itself, or a stage together with those before it; see `split`.

    Args:
        pruner: A pruner; stages between saliency and picks only if its selector has the four parts of a score.
        features: (1, N, D).
        saliency: (1, N).
        keep: K.
    """
    count = features.shape[1]
    table, registry, dtype = pruner.spec.to_table(pruner.registry), pruner.registry, pruner.dtype
    short = pruner.spec.label if registry.has("recipe", pruner.spec.recipe or "") else None
    runs: dict[str, Callable[[], Any]] = {SPEC: partial(Pruner, table, registry=registry)}
    if short is not None:
        runs[PARTS] = partial(Pruner, short, registry=registry)

    def checked() -> VisualTokens:
        tokens = VisualTokens.of(features, saliency=saliency, grid=square(count)).to_dtype(dtype)
        tokens.check_finite("features", tokens.features)
        return tokens

    runs |= {TOKENS: checked, FLOOR: partial(baselines.cosine, features[0])}
    tokens, parts = checked(), getattr(pruner.parts["selector"], "parts", {})
    if {"saliency", "similarity", "coverage", "combiner", "optimizer"} <= set(parts):
        metric, coverage, combiner = (parts[name] for name in ("similarity", "coverage", "combiner"))
        problem = Problem(tokens, parts["saliency"], metric, coverage, combiner)
        if combiner.uses_saliency:
            runs[SALIENCY] = partial(scores, parts["saliency"], tokens)
        if problem.uses_similarity:
            runs |= _reading(problem, metric, tokens)
        matrix = problem.similarity
        given = metric if matrix is None else given_matrix(matrix)
        if problem.uses_similarity:
            runs[CHECK] = partial(similarities, given, tokens)
        ready = Problem(tokens, parts["saliency"], given, coverage, combiner)
        ready.__dict__.update(similarity=matrix, saliency=problem.saliency)
        runs[OPTIMIZER] = partial(parts["optimizer"].optimize, ready, [keep])
        runs |= _compiled(ready, matrix, keep) if "kernel" in parts["optimizer"].ways else {}
    runs[WHOLE] = partial(pruner.select, features, saliency=saliency, grid=square(count))
    return runs


def _reading(problem: Problem, metric: Any, tokens: VisualTokens) -> dict[str, Callable[[], Any]]:
    runs: dict[str, Callable[[], Any]] = {} if metric.vectors is None else {NORMALISE: partial(metric.vectors, tokens)}
    return {**runs, MATRIX: partial(metric.pairwise, tokens)}


def _compiled(problem: Problem, matrix: Tensor | None, keep: int) -> dict[str, Callable[[], Any]]:
    """The steps of the coverage function's kernel, if it makes the picks."""
    coverage, kernel, affine = problem.coverage, problem.coverage.kernel, problem.combiner.affine
    form = None if affine is None else affine(problem.saliency)
    if matrix is None or form is None or kernel is None or problem.execution(("dense", "kernel")).way != "kernel":
        return {}
    scale, offset = (column.double().expand(problem.tokens.shape[:2]).contiguous() for column in form)
    picks = partial(kernel.picks, coverage, matrix, problem.tokens, scale, offset)
    grid = getattr(sys.modules[type(kernel).__module__], "grid", None)
    runs: dict[str, Callable[[], Any]] = {} if grid is None else {GRID: partial(grid, matrix)}
    return {**runs, FIRST: partial(picks, [0]), ROUNDS: partial(picks, [keep])}


def split(ms: Mapping[str, float]) -> dict[str, float]:
    """Milliseconds of each stage alone, in the order of `MEANINGS`, from those of `stages`.

    Some can be timed only together with those before them: the matrix with the vectors it is made from, first gains
    with the grid, and rounds with first gains.
    """
    alone = dict(ms)
    for name, before in ((MATRIX, NORMALISE), (ROUNDS, FIRST), (FIRST, GRID)):
        if name in ms and before in ms:
            alone[name] = ms[name] - ms[before]
    if ROUNDS in ms:
        alone[OPTIMIZER] = ms[OPTIMIZER] - ms[ROUNDS]
    inside = (TOKENS, SALIENCY, NORMALISE, MATRIX, CHECK, GRID, FIRST, ROUNDS, OPTIMIZER)
    alone[REST] = ms[WHOLE] - sum(alone.get(name, 0.0) for name in inside)
    return {name: alone[name] for name in (SPEC, PARTS, *inside, REST, WHOLE, FLOOR) if name in alone}


def _step(progress: Progress, number: int, rounds: int, done: int, total: int) -> None:
    progress(number * rounds + done, max(total, 1) * (number + 1))
