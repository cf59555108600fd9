"""Selecting from bare tensors, beside the cosine matrix alone, the plain loop, and other libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from scope_bench.speed import baselines
from scope_bench.speed.inputs import Material
from scope_bench.speed.machine import check_memory
from scope_bench.speed.timing import Effort, Progress, in_turns, ratio
from scope_core import BudgetError, Pruner, TaskError, VisualTokens
from scope_core.cli.methods import naming, read_methods
from scope_core.parts import Combiner, ComponentSpec, Problem, SimilarityMetric

if TYPE_CHECKING:
    from scope_core import Registry

FLOOR, LOOP = "cosine matrix alone", "plain loop, as published"
MATRICES = 4
"""N x N matrices in float32 that are held at once at most: similarity, its check, what a loop makes of it."""


@dataclass(frozen=True)
class Settings:
    """How selecting is measured.

    Attributes:
        clock: ``"wall"`` or ``"cpu"``: which medians ratios are taken of.
        effort: How often.
        device: Where tensors are.
        dtype: What features and saliency are given in.
        loop: Whether the plain loop takes part.
        libraries: Whether other libraries do, on the CPU.
        reference: Whether the cosine matrix alone does.
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
        """N x N matrices in float32 that are held at once at most, beside those of specs."""
        if self.loop or (self.libraries and self.device.type == "cpu"):
            return MATRICES
        return 1 if self.reference else 0


def pruners(specs: Sequence[str], keep: int, registry: Registry) -> dict[str, Pruner]:
    """Pruners of ``specs`` at a budget, by their names in tables; see `scope_core.cli.methods`."""
    return {one.given: one.pruner for one in read_methods(specs, registry, keep=keep).run}


def cases(tokens: Sequence[int], keeps: Sequence[int]) -> list[tuple[int, int]]:
    """``(N, K)`` of every size with every budget that it has tokens for.

    Raises:
        BudgetError: there is none, or a budget is larger than every size.
    """
    beyond = [keep for keep in keeps if keep > max(tokens)]
    if beyond:
        raise BudgetError(f"cannot keep {beyond[0]} of {max(tokens)} tokens; lower --keep or raise --tokens")
    return [(count, keep) for count in tokens for keep in keeps if keep <= count]


def check_size(tokens: int, settings: Settings, made: Iterable[Pruner] = ()) -> None:
    """Refuse a size whose matrices do not fit, before anything is allocated.

    Args:
        tokens: N.
        settings: Who takes part.
        made: Specs; those that can do without the matrix need none.

    Raises:
        TaskError: says what is needed, and what is free.
    """
    where, count = settings.device, settings.matrices
    advice = "lower --tokens" + ", or give --no-loop, --no-libraries and --no-reference" * (count > 0)
    what = f"N = {tokens}, {count} {'matrix' if count == 1 else 'matrices'} of {tokens} x {tokens} in float32,"
    check_memory(4 * count * tokens**2, what, advice, where)
    for pruner in made:
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
    """One entry per ``(N, K)``, with all times and ratios; see `report`.

    Args:
        material: Features.
        sizes: From `cases`.
        specs: Recipes or spec files; their budgets are replaced.
        registry: Where names are looked up.
        settings: How.
        progress: Called with (turns that are done, turns in all).

    Raises:
        ScopeError: a spec is wrong, or cannot select from features and saliency alone.
        TaskError: a size does not fit into memory.
    """
    made = []
    for number, (tokens, keep) in enumerate(sizes):
        check_size(tokens, settings, pruners(specs, keep, registry).values())
        features, saliency = material.cut(tokens, settings.device, settings.dtype)
        runs = timed_runs(features, saliency, keep, specs, registry, settings)
        at = partial(_step, progress, number, len(sizes))
        laps = in_turns({name: one.run for name, one in runs.items()}, settings.effort, settings.device, at)
        rows = [{"name": name, "role": one.role, **laps[name].facts()} for name, one in runs.items()]
        _judge(rows, runs, features[0], settings.clock)
        made.append({"tokens": tokens, "keep": keep, "width": features.shape[2], "rows": rows})
    return made


@dataclass(frozen=True, eq=False)
class Timed:
    """Something that is timed.

    Attributes:
        run: Does it once.
        role: ``"floor"`` (the reference), ``"loop"``, ``"spec"``, ``"engine"`` (coverage alone, matrix given)
            or ``"peer"`` (likewise).
        picks: What it picks, (K,); None where it picks nothing.
    """

    run: Callable[[], Any]
    role: str
    picks: Callable[[], Tensor] | None = None


def timed_runs(
    features: Tensor, saliency: Tensor, keep: int, specs: Sequence[str], registry: Registry, settings: Settings
) -> dict[str, Timed]:
    """What is timed at one size and budget, by name."""
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
        matrix = ((matrix + matrix.T) / 2).clamp(min=0).contiguous()  # below 0 nothing counts, and libraries refuse it
        if engine is not None:
            alone = partial(on_matrix, engine[1], features.float(), matrix, keep)
            runs[f"{engine[0]}, matrix given"] = Timed(alone, "engine", alone)
        for name, library in baselines.libraries().items():
            picks = partial(library, matrix, keep)
            runs[f"{name} lazy, matrix given"] = Timed(picks, "peer", lambda picks=picks: torch.tensor(picks()))  # type: ignore[misc]
    return runs


def square(tokens: int) -> tuple[int, int] | None:
    """(rows, columns) for parts that read places; None where so many tokens are no square."""
    side = math.isqrt(tokens)
    return (side, side) if side * side == tokens else None


def on_matrix(pruner: Pruner, features: Tensor, matrix: Tensor, keep: int) -> Tensor:
    """(K,) picks of a pruner's optimizer and coverage function alone: the matrix is given, saliency is not read."""
    parts = pruner.parts["selector"].parts
    given, alone = _Given(_GivenSpec(), matrix[None]), _Alone(_AloneSpec())
    with torch.no_grad():
        problem = Problem(VisualTokens.of(features), parts["saliency"], given, parts["coverage"], alone)
        picks: Tensor = parts["optimizer"].optimize(problem, [keep]).picks[0]
    return picks


class _GivenSpec(ComponentSpec):
    name: Literal["given"] = "given"


class _Given(SimilarityMetric[_GivenSpec]):
    """A matrix that is there already."""

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
    """Ratios of medians, and whether those that maximise the same objective picked the same, or as well."""
    by_role: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_role.setdefault(row["role"], []).append(row)
    floor, loop, engine = (by_role.get(role, [None])[0] for role in ("floor", "loop", "engine"))
    picked = {name: one.picks().cpu() for name, one in runs.items() if one.picks is not None}
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
        TaskError: this machine, or this build of torch, has none.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(f"device '{name}' cannot be used here: {first}; leave --device out for the CPU") from error
    return device
