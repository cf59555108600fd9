"""Time of selection from tensors, compared with the cosine matrix alone, the plain loop, and other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from scope_bench.speed import baselines
from scope_bench.speed.inputs import Material
from scope_bench.speed.machine import check_memory
from scope_bench.speed.timing import Effort, Progress, in_turns, ratio
from scope_core import BudgetError, Pruner, Registry, TaskError, VisualTokens
from scope_core.cli.methods import naming, read_methods
from scope_core.parts import Combiner, ComponentSpec, Problem, SimilarityMetric

FLOOR, LOOP = "cosine matrix alone", "plain loop, as published"
MATRICES = 4
"""Largest number of N x N float32 matrices at once: similarity, its check, and those of a loop."""


@dataclass(frozen=True)
class Settings:
    """Settings of the measurement of selection.

    Attributes:
        clock: The clock of ratios, ``"wall"`` or ``"cpu"``.
        effort: Number of rounds.
        device: Device of the tensors.
        dtype: Data type of features and saliency.
        loop: True to time the plain loop.
        libraries: True to time other libraries, on the CPU only.
        reference: True to time the cosine matrix alone.
    """

    clock: Literal["wall", "cpu"]
    effort: Effort
    device: torch.device
    dtype: torch.dtype = torch.float32
    loop: bool = True
    libraries: bool = True
    reference: bool = True

    @property
    def matrices(self) -> int:
        """Largest number of N x N float32 matrices at once, besides those of specs."""
        if self.loop or (self.libraries and self.device.type == "cpu"):
            return MATRICES
        return 1 if self.reference else 0


def pruners(specs: Sequence[str], keep: int, registry: Registry) -> dict[str, Pruner]:
    """Pruners of ``specs`` at a budget, by their names in tables; see `scope_core.cli.methods`."""
    return {method.given: method.pruner for method in read_methods(specs, registry, keep=keep).run}


def cases(tokens: Sequence[int], keeps: Sequence[int]) -> list[tuple[int, int]]:
    """``(N, K)`` for every size and every budget that is not larger.

    Raises:
        BudgetError: a budget is larger than every size.
    """
    beyond = [keep for keep in keeps if keep > max(tokens)]
    if beyond:
        raise BudgetError(f"cannot keep {beyond[0]} of {max(tokens)} tokens; lower --keep or raise --tokens")
    return [(count, keep) for count in tokens for keep in keeps if keep <= count]


def check_size(tokens: int, settings: Settings, timed: Iterable[Pruner] = ()) -> None:
    """Check that the matrices of a size fit into memory, before anything is allocated.

    Args:
        tokens: N.
        settings: Settings of the measurement.
        timed: Pruners; those that select in blocks need no matrix.

    Raises:
        TaskError: more memory is needed than is free.
    """
    where, count = settings.device, settings.matrices
    advice = "lower --tokens" + ", or give --no-loop, --no-libraries and --no-reference" * (count > 0)
    what = f"N = {tokens}, {count} {'matrix' if count == 1 else 'matrices'} of {tokens} x {tokens} in float32,"
    check_memory(4 * count * tokens**2, what, advice, where)
    for pruner in timed:
        plan = pruner.plan([tokens])
        if not plan.in_blocks:
            check_memory(plan.memory, f"N = {tokens}, {pruner.label},", "lower --tokens", where)


def select(
    material: Material,
    sizes: Sequence[tuple[int, int]],
    specs: Sequence[str],
    registry: Registry,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> list[dict[str, Any]]:
    """One entry per ``(N, K)``, with all times and ratios.

    Args:
        material: Features.
        sizes: From `cases`.
        specs: Recipes or spec files; their budgets are replaced.
        registry: The registry that names are looked up in.
        settings: Settings of the measurement.
        progress: Called with (finished rounds, all rounds).

    Raises:
        ScopeError: a spec is wrong, or cannot select from features and saliency alone.
        TaskError: a size does not fit into memory.
    """
    entries = []
    for number, (tokens, keep) in enumerate(sizes):
        check_size(tokens, settings, pruners(specs, keep, registry).values())
        features, saliency = material.cut(tokens, settings.device, settings.dtype)
        runs = timed_runs(features, saliency, keep, specs, registry, settings)
        at = partial(_step, progress, number, len(sizes))
        laps = in_turns({name: timed.run for name, timed in runs.items()}, settings.effort, settings.device, at)
        rows = [{"name": name, "role": timed.role, **laps[name].facts()} for name, timed in runs.items()]
        _judge(rows, runs, features[0], settings.clock)
        entries.append({"tokens": tokens, "keep": keep, "width": features.shape[2], "rows": rows})
    return entries


@dataclass(frozen=True, eq=False)
class Timed:
    """A function to time.

    Attributes:
        run: The function.
        role: ``"floor"`` (the reference), ``"loop"``, ``"spec"``, ``"engine"`` (coverage alone, matrix given)
            or ``"peer"`` (another library, matrix given).
        picks: Function that returns its picks, (K,); None if it makes none.
    """

    run: Callable[[], Any]
    role: str
    picks: Callable[[], Tensor] | None = None


def timed_runs(
    features: Tensor, saliency: Tensor, keep: int, specs: Sequence[str], registry: Registry, settings: Settings
) -> dict[str, Timed]:
    """The functions to time at one size and budget, by name."""
    row, column = features[0], saliency[0]
    runs = {FLOOR: Timed(partial(baselines.cosine, row), "floor")} if settings.reference else {}
    if settings.loop:
        loop = partial(baselines.plain_loop, row, column, keep)
        runs[LOOP] = Timed(loop, "loop", loop)
    engine: tuple[str, Pruner] | None = None
    for name, pruner in pruners(specs, keep, registry).items():
        run = partial(pruner.select, features, saliency=saliency, grid=square(features.shape[1]))
        with naming(name):
            run()
        runs[name] = Timed(run, "spec", lambda run=run: run().picks[0])  # type: ignore[misc]
        if engine is None and "coverage" in getattr(pruner.parts["selector"], "parts", {}):
            engine = name, pruner
    if settings.libraries and settings.device.type == "cpu":
        matrix = baselines.cosine(row.float())
        matrix = (
            ((matrix + matrix.T) / 2).clamp(min=0).contiguous()
        )  # libraries refuse negatives, which do not count anyway
        if engine is not None:
            alone = partial(on_matrix, engine[1], features.float(), matrix, keep)
            runs[f"{engine[0]}, matrix given"] = Timed(alone, "engine", alone)
        for name, library in baselines.libraries().items():
            picks = partial(library, matrix, keep)
            runs[f"{name} lazy, matrix given"] = Timed(picks, "peer", lambda picks=picks: torch.tensor(picks()))  # type: ignore[misc]
    return runs


def square(tokens: int) -> tuple[int, int] | None:
    """(rows, columns) for parts that read places; None if ``tokens`` is not a square number."""
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens else None


def on_matrix(pruner: Pruner, features: Tensor, matrix: Tensor, keep: int) -> Tensor:
    """(K,) picks of a pruner's optimizer and coverage function alone, with a given matrix and without saliency."""
    parts = pruner.parts["selector"].parts
    given, alone = given_matrix(matrix[None]), _Alone(_AloneSpec())
    with torch.no_grad():
        problem = Problem(VisualTokens.of(features), parts["saliency"], given, parts["coverage"], alone)
        picks: Tensor = parts["optimizer"].optimize(problem, [keep]).picks[0]
    return picks


def given_matrix(matrix: Tensor) -> SimilarityMetric[Any]:
    """A similarity that is this (B, N, N) matrix."""
    return _Given(_GivenSpec(), matrix)


class _GivenSpec(ComponentSpec):
    name: Literal["given"] = "given"


class _Given(SimilarityMetric[_GivenSpec]):
    """A given matrix."""

    def __init__(self, spec: _GivenSpec, matrix: Tensor) -> None:
        super().__init__(spec)
        self.matrix = matrix

    def pairwise(self, tokens: VisualTokens) -> Tensor:
        return self.matrix


class _AloneSpec(ComponentSpec):
    name: Literal["alone"] = "alone"


class _Alone(Combiner[_AloneSpec]):
    """The gain is the score."""

    uses_saliency = False

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(saliency), torch.zeros_like(saliency)

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        return gain


def _judge(rows: list[dict[str, Any]], runs: dict[str, Timed], features: Tensor, clock: str) -> None:
    """Add ratios of medians, coverage, and the number of picks shared with others that maximise the same objective."""
    by_role: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_role.setdefault(row["role"], []).append(row)
    floor, loop, engine = (by_role.get(role, [None])[0] for role in ("floor", "loop", "engine"))
    picked = {name: timed.picks().cpu() for name, timed in runs.items() if timed.picks is not None}
    covers = {name: baselines.coverage_of(features, picks.to(features.device)) for name, picks in picked.items()}
    for row in rows:
        row["of_floor"] = None if floor is None else ratio(row, floor, clock)
        row["faster_than_loop"] = None if loop is None else ratio(loop, row, clock)
        row["engine_is_faster"] = None if engine is None or row["role"] != "peer" else ratio(row, engine, clock)
        row["coverage"] = covers.get(row["name"])
        other = {"spec": loop, "peer": engine}.get(row["role"])
        same = None if other is None else picked[row["name"]] == picked[other["name"]]
        row["same_picks"] = None if same is None else int(same.sum())


def _step(progress: Progress, number: int, count: int, done: int, total: int) -> None:
    progress(number * total + done, count * total)


def check_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        TaskError: this machine, or this build of torch, has no such device.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(f"device '{name}' cannot be used here: {first}; omit --device for the CPU") from error
    return device
