"""Whether there is room for a similarity matrix, and what to say where there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scope_core.blocks import Blocks, blocks_bytes
from scope_core.errors import SpecError, TooLargeError
from scope_core.interfaces import Combiner, CoverageFunction, Optimizer, SimilarityMetric
from scope_core.memory import free_memory, lack, largest, matrix_bytes, said, shortage

if TYPE_CHECKING:
    from scope_core.engine import Problem


def no_room(problem: Problem) -> str:
    """Why there is no room for the matrix and what is made of it, in words; empty where there is."""
    return shortage(_need(problem), problem.memory, problem.tokens.device)


def check_room(problem: Problem) -> None:
    """Refuse a matrix that there is no room for, before any part of it is made.

    Raises:
        TooLargeError: says what it needs, what there is, why it cannot be done without, and what to do.
    """
    reason = no_room(problem)
    if not reason:
        return
    tokens = problem.tokens
    batch, count, _ = tokens.shape
    tiled = bool(((tokens.tile != tokens.tile[:, :1]) & tokens.valid).any())
    raise _too_large(
        tokens.name_of(0) if batch == 1 else f"{batch} groups",
        (problem.metric, problem.coverage, problem.combiner),
        (batch, count, tokens.features.element_size()),
        (reason, problem.why_no_blocks()),
        (problem.memory, None if problem.memory is not None else free_memory(tokens.device)),
        tiled=tiled,
    )


def check_matrix(
    metric: SimilarityMetric[Any],
    coverage: CoverageFunction[Any],
    combiner: Combiner[Any],
    optimizer: Optimizer[Any],
    count: int,
    itemsize: int,
    *,
    allowed: int | None = None,
    free: int | None = None,
) -> None:
    """Refuse what selecting from a group would refuse, as far as its size alone tells. Pure.

    Args:
        metric: Where similarity comes from.
        coverage: What is optimized.
        combiner: Makes scores.
        optimizer: Picks.
        count: Tokens of the group.
        itemsize: Bytes of a number: 4 for float32.
        allowed: Bytes that may be used; None for nine tenths of ``free``.
        free: Bytes that are free; None where it is not known.

    Raises:
        SpecError: the optimizer never makes the matrix, and the parts need it.
        TooLargeError: there is no room for what has to be made.
    """
    if not (coverage.uses_similarity and combiner.uses_coverage):
        return
    without, always = Blocks.why_not(metric, coverage, combiner), optimizer.in_blocks == "always"
    if always and without:
        raise SpecError(f"optimizer {optimizer} asks for blocks, and there is no such way: {without}; use path 'auto'")
    who = f"a group of {count} tokens"
    reason = lack(matrix_bytes(metric, coverage, count, itemsize, combiner), allowed, free)
    if always or (reason and not without and optimizer.in_blocks == "short"):
        if reason := lack(blocks_bytes(count, 1), allowed, free):
            raise TooLargeError(
                f"{who}: even without the matrix of {metric}, its vectors and blocks of their products take "
                f"{said(blocks_bytes(count, 1))} or more, and {reason}; raise `memory` (GiB)"
            )
    elif reason:
        parts = metric, coverage, combiner
        raise _too_large(who, parts, (1, count, itemsize), (reason, without), (allowed, free))


def _too_large(
    who: str,
    parts: tuple[SimilarityMetric[Any], CoverageFunction[Any], Combiner[Any]],
    shape: tuple[int, int, int],
    why: tuple[str, str],
    room: tuple[int | None, int | None],
    *,
    tiled: bool = False,
) -> TooLargeError:
    """What is needed, what there is, why it cannot be done without, and what to do."""
    metric, coverage, combiner = parts
    batch, count, itemsize = shape
    reason, without = why
    need = batch * matrix_bytes(metric, coverage, count, itemsize, combiner)
    most = largest(batch * matrix_bytes(metric, coverage, 1, 1, combiner), itemsize, *room)
    advice = "" if without else "use `optimizer: {name: greedy, path: blocks}`, "
    if without and type(coverage).picks_in_blocks is CoverageFunction.picks_in_blocks:
        advice = "use a coverage function that can be read in blocks, "
    advice += "cut the tokens into groups" + (f" of at most {most}" if most else "")
    advice += f" (`partition: {{name: chunks, count: N}}`{', or `tile`' if tiled else ''}), or raise `memory` (GiB)"
    if room[0] is None:
        advice = advice.replace("or raise `memory` (GiB)", "or free some memory")
    without = without or "the optimizer asks for it; one that is exact greedy, its path left open, need not"
    return TooLargeError(
        f"{who}: similarity {metric} and coverage {coverage} of {count} tokens take {said(need)} for matrices of "
        f"{count} x {count}, and {reason}; it is not done without the matrix: {without}. What helps: {advice}"
    )


def _need(problem: Problem) -> int:
    batch, count, _ = problem.tokens.shape
    size = problem.tokens.features.element_size()
    return batch * matrix_bytes(problem.metric, problem.coverage, count, size, problem.combiner)
