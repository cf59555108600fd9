"""Run an optimizer on a few groups at a time if the similarities of all groups together would be large."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch

from scope_core.engine.blockwise import side_by_side
from scope_core.engine.validation import check_table
from scope_core.memory import UNCHECKED_BYTES, free_memory
from scope_core.parts.optimizer import Optimizer
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks

TOGETHER = 2**22
"""Groups whose similarities take up to this many bytes are selected together on the CPU."""


def by_group(problem: Problem, optimizer: Optimizer[Any], keep: Sequence[int]) -> Picks:
    """The optimizer's picks; large groups one at a time, so that memory holds one matrix instead of one per group.

    Small groups of one size that follow each other are selected together, as many as `TOGETHER` allows.

    Raises:
        PluginOutputError: the optimizer returned something other than picks.
        TooLargeError: a matrix does not fit into memory.
    """
    tokens = problem.tokens
    batch, count, _ = tokens.shape
    if batch == 1 or not problem.uses_similarity:
        return _optimized(problem, optimizer, keep)
    size = batch * count**2 * tokens.features.element_size()
    if size <= _together(size, tokens.device) and problem.execution(("dense",)).way != "refuse":
        return _optimized(problem, optimizer, keep)
    tables, first, sizes = [], 0, problem.sizes()
    while first < batch:
        count = sizes[first]
        most = max(1, _together(size, tokens.device) // (count**2 * tokens.features.element_size()))
        if problem.memory is not None:
            most = max(1, min(most, problem.memory // problem.matrix_bytes(count)))
        groups = sum(1 for _ in takewhile(count.__eq__, sizes[first : first + most]))
        tables.append(_optimized(problem.some(first, count, groups), optimizer, keep[first : first + groups]))
        first += groups
    return side_by_side(tables)


def _together(size: int, device: torch.device) -> int:
    """Bytes of similarity up to which groups are selected together; on accelerators a quarter of the free memory."""
    if device.type == "cpu":
        return TOGETHER
    return UNCHECKED_BYTES if size <= UNCHECKED_BYTES else max(UNCHECKED_BYTES, (free_memory(device) or 0) // 4)


def _optimized(problem: Problem, optimizer: Optimizer[Any], keep: Sequence[int]) -> Picks:
    picks = optimizer.optimize(problem, keep)
    check_table(picks, f"optimizer {optimizer}: optimize()", keep)
    return picks
