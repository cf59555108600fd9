"""Groups selected one at a time, where the similarities of all together would be large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from scope_core.engine.blockwise import side_by_side
from scope_core.engine.validation import check_table
from scope_core.memory import UNCHECKED_BYTES, free_memory
from scope_core.parts.optimizer import Optimizer
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks

TOGETHER = 2**22
"""Bytes of similarity up to which groups are selected together on the CPU."""


def by_group(problem: Problem, optimizer: Optimizer[Any], keep: Sequence[int]) -> Picks:
    """What the optimizer picks; large groups one at a time, so that one matrix is held and not one for each.

    Raises:
        PluginOutputError: the optimizer returned something else than picks.
        TooLargeError: there is no room for a matrix.
    """
    tokens = problem.tokens
    batch, count, _ = tokens.shape
    if batch == 1 or not problem.uses_similarity:
        return _optimized(problem, optimizer, keep)
    size = batch * count**2 * tokens.features.element_size()
    if size <= _together(size, tokens.device) and problem.execution(("dense",)).way != "refuse":
        return _optimized(problem, optimizer, keep)
    return side_by_side([_optimized(problem.one(group), optimizer, [wanted]) for group, wanted in enumerate(keep)])


def _together(size: int, device: torch.device) -> int:
    """Bytes of similarity that may be made at once.

    On an accelerator, which runs groups side by side, a quarter of what is free.
    """
    if device.type == "cpu":
        return TOGETHER
    return UNCHECKED_BYTES if size <= UNCHECKED_BYTES else max(UNCHECKED_BYTES, (free_memory(device) or 0) // 4)


def _optimized(problem: Problem, optimizer: Optimizer[Any], keep: Sequence[int]) -> Picks:
    made = optimizer.optimize(problem, keep)
    check_table(made, f"optimizer {optimizer}: optimize()", keep)
    return made
