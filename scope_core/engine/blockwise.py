"""Selection without the N x N matrix: one group after the other, from blocks of its similarities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from scope_core.errors import PluginOutputError, SpecError, TooLargeError
from scope_core.memory import free_for
from scope_core.parts.calls import attribute_errors, expect
from scope_core.parts.execution import blocks_refusal
from scope_core.structures.blocks import Blocks, blocks_bytes
from scope_core.structures.picks import Picks
from scope_core.structures.tokens import VisualTokens

if TYPE_CHECKING:
    from scope_core.parts.problem import Problem


def picks_in_blocks(
    problem: Problem, pick: Callable[..., Picks], form: tuple[Tensor, Tensor], keep: Sequence[int]
) -> Picks:
    """Greedy's picks without the matrix, one group after the other.

    Args:
        problem: What is optimized.
        pick: ``picks_in_blocks`` of the coverage function's kernel.
        form: (B, N) float64 scale and offset of the score.
        keep: How many to pick of each group.

    Raises:
        TooLargeError: there is no room for the vectors.
    """
    made = []
    for group, count in enumerate(keep):
        tokens = problem.tokens.only(group, problem.tokens.shape[1])
        similarities = _blocks(problem, tokens)
        scale, offset = (column[group : group + 1] for column in form)
        with attribute_errors(problem.coverage, "picks_in_blocks", tokens):
            made.append(pick(problem.coverage, similarities, tokens, scale, offset, count))
        del similarities  # before the next group's are made
    return side_by_side(made)


def _blocks(problem: Problem, tokens: VisualTokens) -> Blocks:
    metric, coverage = problem.metric, problem.coverage
    with attribute_errors(metric, "vectors", tokens):
        vectors = None if metric.vectors is None else metric.vectors(tokens)
    if vectors is None:
        raise SpecError(f"similarity {metric} gave no vectors for {tokens.name_of(0)}, so it cannot be read in blocks")
    width = vectors.shape[-1] if isinstance(vectors, Tensor) and vectors.dim() else 0
    expect(vectors, (*tokens.shape[:2], width), f"similarity {metric}: vectors()", tokens)
    itemsize, device, allowed = vectors.element_size(), tokens.device, problem.memory
    free = free_for(blocks_bytes(tokens.shape[1], width, device, itemsize), allowed, device)
    if reason := blocks_refusal(metric, tokens.shape[1], width, allowed, free, itemsize, device):
        raise TooLargeError(f"{tokens.name_of(0)}: {reason}")
    try:
        made = Blocks.of(vectors[0], tokens.valid[0])
    except PluginOutputError as error:
        raise PluginOutputError(f"similarity {metric}: vectors() of {tokens.name_of(0)}: {error}") from None
    if coverage.nonnegative_similarity:
        problem.check_nonnegative(min((block.amin() for _, _, block in made.triangle()), key=float))
    return made


def side_by_side(made: Sequence[Picks]) -> Picks:
    """The picks of several groups as one table."""
    most = max((one.picks.shape[1] for one in made), default=0)

    def stacked(columns: list[Tensor], fill: float) -> Tensor:
        return torch.cat([torch.nn.functional.pad(one, (0, most - one.shape[1]), value=fill) for one in columns])

    return Picks(
        stacked([one.picks for one in made], -1),
        stacked([one.gains for one in made], torch.nan),
        stacked([one.scores for one in made], torch.nan),
    )
