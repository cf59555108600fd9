"""Time of selecting from many groups in one call, beside a call for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scope_bench.speed.inputs import smooth
from scope_bench.speed.select import Settings, check_size, pruners
from scope_bench.speed.timing import Progress, in_turns
from scope_core import BudgetError, Pruner, Registry

SIZES = (144, 256, 576)
"""Tokens of a small tile or frame, of a merged one, and of a tower's whole image."""
GROUPS = (8, 32, 128)
KEEP = 64
KINDS = 8
"""Different groups in a batch, which repeat."""
TOGETHER, ALONE = "one call", "a call each"


def batches(
    sizes: Sequence[int],
    keep: int,
    width: int,
    spec: str,
    registry: Registry,
    settings: Settings,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Times of one call and of a call for each group, by size and number of groups; of equal and of ragged sizes.

    Args:
        sizes: N of the largest group.
        keep: K of every group.
        width: Width of synthetic features.
        spec: A recipe or spec file; its budget is replaced.
        registry: The registry that names are looked up in.
        settings: Settings of the measurement.
        progress: Called with (finished rounds, all rounds).

    Raises:
        BudgetError: a ragged group has fewer than K tokens.
        TaskError: a size does not fit into memory.
    """
    cases = [(count, groups, ragged) for count in sizes for groups in GROUPS for ragged in (False, True)]
    pruner = pruners([spec], keep, registry)[spec]
    for count, groups, ragged in cases:  # before anything is computed
        check_size(count, settings, [pruner])
        if keep > (least := min(lengths(count, groups, ragged))):
            raise BudgetError(f"cannot keep {keep} of {least} tokens, the smallest group of N = {count}; lower --keep")
    rows = []
    for number, (count, groups, ragged) in enumerate(cases):
        runs = _runs(pruner, count, groups, ragged, width, settings)
        laps = in_turns(runs, settings.effort, settings.device)
        ms = {name: lap.facts()[f"{settings.clock}_ms"]["median"] for name, lap in laps.items()}
        rows.append({"tokens": count, "groups": groups, "ragged": ragged, "ms": ms})
        progress(number + 1, len(cases))
    return {"spec": spec, "keep": keep, "width": width, "rows": rows}


def lengths(count: int, groups: int, ragged: bool) -> list[int]:
    """Tokens of each group: N; or if ragged, N, 7/8, 6/8 and 5/8 of it by turns."""
    return [count - (group % 4) * count // 8 if ragged else count for group in range(groups)]


def _runs(
    pruner: Pruner, count: int, groups: int, ragged: bool, width: int, settings: Settings
) -> dict[str, Callable[[], Any]]:
    """The two functions to time, by name."""
    sizes = lengths(count, groups, ragged)
    kinds = [smooth(count, width, seed).cut(count, settings.device, settings.dtype) for seed in range(KINDS)]
    features = torch.cat([kinds[group % KINDS][0] for group in range(groups)])
    saliency = torch.cat([kinds[group % KINDS][1] for group in range(groups)])
    valid = torch.arange(count, device=settings.device) < torch.tensor(sizes, device=settings.device)[:, None]
    single = [(features[i : i + 1, :size], saliency[i : i + 1, :size]) for i, size in enumerate(sizes)]
    return {
        TOGETHER: partial(pruner.select, features, saliency=saliency, valid=valid if ragged else None),
        ALONE: partial(_one_by_one, pruner, single),
    }


def _one_by_one(pruner: Pruner, groups: Sequence[tuple[Tensor, Tensor]]) -> None:
    for features, saliency in groups:
        pruner.select(features, saliency=saliency)
