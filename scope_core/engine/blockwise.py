"""Greedy selection without the N x N matrix: one group after the other, from blocks of its similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, SpecError, TooLargeError
from scope_core.memory import free_for
from scope_core.parts.calls import attribute_errors, expect
from scope_core.parts.execution import blocks_refusal
from scope_core.parts.problem import Problem
from scope_core.structures.blocks import Blocks, blocks_bytes
from scope_core.structures.picks import Picks
from scope_core.structures.tokens import VisualTokens


def picks_in_blocks(
    problem: Problem, pick: Callable[..., Picks], form: tuple[Tensor, Tensor], keep: Sequence[int]
) -> Picks:
    """Greedy's picks without the matrix, one group after the other.

    Args:
        problem: Tokens and parts.
        pick: ``picks_in_blocks`` of the coverage function's kernel.
        form: (B, N) float64 scale and offset of the score.
        keep: Number of picks of each group.

    Raises:
        TooLargeError: the vectors do not fit into memory.
    """
    tables = []
    for group, count in enumerate(keep):
        tokens = problem.tokens.only(group, problem.tokens.shape[1])
        similarities = _blocks(problem, tokens)
        scale, offset = (column[group : group + 1] for column in form)
        with attribute_errors(problem.coverage, "picks_in_blocks", tokens):
            tables.append(pick(problem.coverage, similarities, tokens, scale, offset, count))
        del similarities  # free them before the next group's are computed
    return side_by_side(tables)


def _blocks(problem: Problem, tokens: VisualTokens) -> Blocks:
    metric, coverage = problem.metric, problem.coverage
    with attribute_errors(metric, "vectors", tokens):
        vectors = None if metric.vectors is None else metric.vectors(tokens)
    if vectors is None:
        raise SpecError(
            f"similarity {metric} gave no vectors for {tokens.name_of(0)}, so it cannot be computed in blocks"
        )
    width = vectors.shape[-1] if isinstance(vectors, Tensor) and vectors.dim() else 0
    expect(vectors, (*tokens.shape[:2], width), f"similarity {metric}: vectors()", tokens)
    itemsize, device, allowed = vectors.element_size(), tokens.device, problem.memory
    free = free_for(blocks_bytes(tokens.shape[1], width, device, itemsize), allowed, device)
    if reason := blocks_refusal(metric, tokens.shape[1], width, allowed, free, itemsize, device):
        raise TooLargeError(f"{tokens.name_of(0)}: {reason}")
    try:
        blocks = Blocks.of(vectors[0], tokens.valid[0])
    except PluginOutputError as error:
        raise PluginOutputError(f"similarity {metric}: vectors() of {tokens.name_of(0)}: {error}") from None
    if coverage.nonnegative_similarity:
        problem.check_nonnegative(min((block.amin() for _, _, block in blocks.triangle()), key=float))
    return blocks


def side_by_side(tables: Sequence[Picks]) -> Picks:
    """The picks of several groups in one table."""
    width = max((table.picks.shape[1] for table in tables), default=0)

    def stacked(columns: list[Tensor], fill: float) -> Tensor:
        return torch.cat([torch.nn.functional.pad(rows, (0, width - rows.shape[1]), value=fill) for rows in columns])

    return Picks(
        stacked([table.picks for table in tables], -1),
        stacked([table.gains for table in tables], torch.nan),
        stacked([table.scores for table in tables], torch.nan),
    )
