"""Growth of the time of a selection with the number of tokens and with the budget."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from scope_bench.speed import baselines
from scope_bench.speed.inputs import Material
from scope_bench.speed.select import FLOOR, Settings, check_size, pruners
from scope_bench.speed.timing import Progress, in_turns
from scope_core import Registry


def grow(
    material: Material,
    tokens: Sequence[int],
    keeps: Sequence[int],
    spec: str,
    registry: Registry,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Two curves of whole selections: over N at the smallest budget, over K at the largest size.

    Args:
        material: Features.
        tokens: Sizes in rising order.
        keeps: Budgets in rising order; those beyond the largest size are ignored.
        spec: A recipe or spec file.
        registry: The registry that names are looked up in.
        settings: Settings of the measurement.
        progress: Called with (finished rounds, all rounds).

    Returns:
        ``over_tokens`` and ``over_keep``, each with ``points``, the fitted ``exponent``, and that of the ``larger``
        half; the same over N for ``floor`` (the reference: the cosine matrix alone), or None without the reference.

    Raises:
        TaskError: a size does not fit into memory.
    """
    most, least = max(tokens), min(keeps)
    budgets = [keep for keep in keeps if keep <= most]
    check_size(most, settings, pruners([spec], least, registry).values())
    cuts = {count: material.cut(count, settings.device, settings.dtype) for count in {*tokens, most}}
    sizes = {("tokens", count): (count, least) for count in tokens if count >= least}
    sizes |= {("keep", keep): (most, keep) for keep in budgets}
    runs: dict[str, Any] = {}
    for key, (count, keep) in sizes.items():
        features, saliency = cuts[count]
        pruner = pruners([spec], keep, registry)[spec]
        runs[_name(*key)] = partial(pruner.select, features, saliency=saliency)
    for _, count in (key for key in sizes if key[0] == "tokens" and settings.reference):
        runs[_name("floor", count)] = partial(baselines.cosine, cuts[count][0][0])
    laps = {name: lap.facts() for name, lap in in_turns(runs, settings.effort, settings.device, progress).items()}

    def curve(axis: str, values: Sequence[int], fixed: dict[str, int]) -> dict[str, Any]:
        points = [{axis.replace("floor", "tokens"): value, **laps[_name(axis, value)]} for value in values]
        times = [point[f"{settings.clock}_ms"]["median"] for point in points]
        return {**fixed, "points": points, "exponent": exponent(values, times), "larger": larger(values, times)}

    counts = [count for count in tokens if count >= least]
    return {
        "spec": spec,
        "over_tokens": curve("tokens", counts, {"keep": least}),
        "over_keep": curve("keep", budgets, {"tokens": most}),
        "floor": {"name": FLOOR, **curve("floor", counts, {})} if settings.reference else None,
    }


def exponent(sizes: Sequence[int], times: Sequence[float]) -> float | None:
    """``p`` of the best fit ``time ~ size ** p``, by least squares of logarithms; None for fewer than two sizes."""
    if len(set(sizes)) < 2:
        return None
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(time) for time in times]).slope


def larger(sizes: Sequence[int], times: Sequence[float]) -> dict[str, float] | None:
    """`exponent` of the larger half of sizes, and the size it begins ``from``; None for fewer than two sizes.

    The constant cost of a call flattens the curve for small sizes.
    """
    half = len(sizes) // 2
    power = exponent(sizes[half:], times[half:])
    return None if power is None else {"from": sizes[half], "exponent": power}


def _name(axis: str, value: int) -> str:
    return f"{axis} {value}"
