"""How picks are made of parts: by the loop, by a kernel, in blocks, or not at all. `plan_execution` alone decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from scope_core.errors import ScopeError, SpecError, TooLargeError
from scope_core.memory import UNCHECKED_BYTES, said, shortfall_message
from scope_core.structures.blocks import blocks_bytes

if TYPE_CHECKING:
    from scope_core.parts.combiner import Combiner
    from scope_core.parts.coverage import CoverageFunction
    from scope_core.parts.similarity import SimilarityMetric

Way = Literal["dense", "kernel", "blocks"]
WAYS: tuple[Way, ...] = ("dense", "kernel", "blocks")
"""The same picks in different time and memory: one gain at a time from the whole matrix, all at once from it by the
coverage function's `Kernel`, or without the matrix, from blocks of it that are computed when they are read."""


class Scoring(NamedTuple):
    """The parts that make scores of similarities."""

    similarity: SimilarityMetric[Any]
    coverage: CoverageFunction[Any]
    combiner: Combiner[Any]


@dataclass(frozen=True)
class Execution:
    """How similarities are handled while selecting.

    Attributes:
        way: ``"dense"``, ``"kernel"``, ``"blocks"``, or ``"refuse"``.
        memory: Bytes that N x N matrices take at once; 0 where none is made.
        in_blocks: Whether similarities are computed in blocks, at least where there is no room for ``memory``.
        limit: Bytes that they may take; None for nine tenths of what is free.
        reason: Why it is refused, in words.
        error: What `check` raises then.
    """

    way: Literal["dense", "kernel", "blocks", "refuse"] = "dense"
    memory: int = 0
    in_blocks: bool = False
    limit: int | None = None
    reason: str = ""
    error: type[ScopeError] = SpecError

    def check(self, who: str) -> None:
        """Raise ``error`` if the way is ``"refuse"``; ``who`` says of which tokens."""
        if self.way == "refuse":
            raise self.error(f"{who}: {self.reason}")

    @staticmethod
    def of(inner: Iterable[Execution]) -> Execution:
        """Of selectors that run one after the other: the most memory, the lowest limit, the first refusal."""
        inner = tuple(inner)
        reading = [one for one in inner if one.memory or one.in_blocks]
        refused = next((one for one in inner if one.way == "refuse"), Execution())
        ways = {one.way for one in inner}
        return Execution(
            refused.way if refused.reason or len(ways) != 1 else ways.pop(),
            max((one.memory for one in inner), default=0),
            bool(reading) and all(one.in_blocks for one in reading),
            min((one.limit for one in inner if one.limit is not None), default=None),
            refused.reason,
            refused.error,
        )


def plan_execution(
    parts: Scoring,
    sizes: Sequence[int],
    itemsize: int,
    ways: Sequence[Way] = WAYS,
    allowed: int | None = None,
    free: int | None = None,
    device: torch.device | str = "cpu",
) -> Execution:
    """How greedy's picks are made. Pure.

    In blocks where nothing else is allowed, or where the matrix has no room; else by a kernel that can serve; else by
    the loop.

    Args:
        parts: What makes scores.
        sizes: Tokens of each group whose matrices are held at the same time.
        itemsize: Bytes of a number: 4 for float32.
        ways: Those that may be taken: `Optimizer.ways`.
        allowed: Bytes that may be used; None for nine tenths of ``free``.
        free: Bytes that are free; None where it is not known.
        device: Where the tokens are.
    """
    no_kernel = why_no_kernel(parts, itemsize, device) if "kernel" in ways else "it was not asked for"
    if no_kernel and tuple(ways) == ("kernel",):
        reason = f"path 'compiled' was asked for, and there is no compiled way: {no_kernel}; or use path 'auto'"
        return Execution("refuse", limit=allowed, reason=reason)
    whole: Literal["dense", "kernel"] = "dense" if no_kernel else "kernel"
    if not reads_similarity(parts):
        return Execution(whole, limit=allowed)
    count = max(sizes, default=0)
    need = sum(matrix_bytes(parts.similarity, parts.coverage, size, itemsize, parts.combiner) for size in sizes)
    no_blocks = why_no_blocks(parts, itemsize) if "blocks" in ways else "it was not asked for"
    only = tuple(ways) == ("blocks",)
    if only and no_blocks:
        reason = f"path 'blocks' was asked for, and there is no such way: {no_blocks}"
        return Execution("refuse", need, limit=allowed, reason=f"{reason}; use path 'auto'")
    short = shortfall_message(need, allowed, free)
    if not no_blocks and (only or short):
        if reason := blocks_refusal(parts.similarity, count, None, allowed, free, device=device):
            return Execution("refuse", 0, True, allowed, reason, TooLargeError)
        return Execution("blocks", 0, True, allowed)
    if short:
        reason = _too_large(parts, sizes, itemsize, short, why_no_blocks(parts, itemsize), (allowed, free))
        return Execution("refuse", need, False, allowed, reason, TooLargeError)
    return Execution(whole, need, not no_blocks, allowed)


def reads_similarity(parts: Scoring) -> bool:
    """Whether any part reads similarities."""
    return bool(parts.coverage.uses_similarity and parts.combiner.uses_coverage)


def matrix_bytes(
    metric: SimilarityMetric[Any],
    coverage: CoverageFunction[Any],
    count: int,
    itemsize: int,
    combiner: Combiner[Any] | None = None,
) -> int:
    """Bytes that the similarity of one group of ``count`` tokens and what is made of it take at once."""
    changed = combiner.matrices if combiner is not None and combiner.condition is not None else 0
    return int(max(metric.matrices, 1 + changed, 1 + coverage.matrices) * count**2 * itemsize)


def why_no_kernel(parts: Scoring, itemsize: int, device: torch.device | str = "cpu") -> str:
    """Why no kernel can make the picks, in words; empty where one can."""
    if reason := _why_no_form(parts, itemsize):
        return reason
    kernel = parts.coverage.kernel
    if kernel is None:
        return f"coverage {parts.coverage} has no kernel for its `start`, `gain` and `add`"
    reason = kernel.why_not(parts.coverage, torch.device(device))
    return reason and f"coverage {parts.coverage}: {reason}"


def why_no_blocks(parts: Scoring, itemsize: int) -> str:
    """Why nothing can be picked without the matrix, in words; empty where it can."""
    metric, coverage, combiner = parts
    if metric.vectors is None:
        return f"similarity {metric} is not known as a dot product of vectors"
    if coverage.kernel is None or coverage.kernel.picks_in_blocks is None:
        return f"coverage {coverage} reads the whole matrix"
    if combiner.condition is not None:
        return f"combiner {combiner} changes the matrix"
    return _why_no_form(parts, itemsize)


def _why_no_form(parts: Scoring, itemsize: int) -> str:
    combiner = parts.combiner
    if not combiner.uses_coverage:
        return f"combiner {combiner} reads no coverage"
    if itemsize < 4:
        return "sums in half precision are rounded at each step, as published; use dtype: float32"
    if combiner.affine is None:
        return f"combiner {combiner} has no `affine`, which says its score as gain * scale + offset"
    return ""


def blocks_refusal(
    metric: SimilarityMetric[Any],
    count: int,
    width: int | None,
    allowed: int | None,
    free: int | None,
    itemsize: int = 4,
    device: torch.device | str = "cpu",
) -> str:
    """Why there is no room for selecting in blocks, in words; empty where there is.

    Args:
        metric: Where similarity comes from.
        count: Tokens of the group.
        width: Numbers of a token's vector; None where it is not known yet.
        allowed: As for `plan_execution`.
        free: Likewise.
        itemsize: Bytes of a vector's number.
        device: Where.
    """
    need = blocks_bytes(count, width or 1, device, itemsize)
    short = shortfall_message(need, allowed, free)
    if not short:
        return ""
    vectors = f"{count} vectors" + ("" if width is None else f" of {width} numbers")
    return (
        f"even without the matrix of {metric}, {vectors} and blocks of their products take "
        f"{said(need)}{' or more' if width is None else ''}, and {short}; cut the tokens into smaller groups "
        f"(`partition: {{name: chunks, count: N}}`), or {_more(allowed)}"
    )


def _more(allowed: int | None) -> str:
    return "free some memory" if allowed is None else "raise `memory` (GiB)"


def _too_large(
    parts: Scoring,
    sizes: Sequence[int],
    itemsize: int,
    short: str,
    no_blocks: str,
    room: tuple[int | None, int | None],
) -> str:
    """What is needed, what there is, why it cannot be done without, and what to do."""
    metric, coverage, combiner = parts
    count, (allowed, free) = max(sizes), room
    need = sum(matrix_bytes(metric, coverage, size, itemsize, combiner) for size in sizes)
    there = allowed if allowed is not None else max(UNCHECKED_BYTES, int(0.9 * free)) if free is not None else 0
    most = isqrt(there // (len(sizes) * matrix_bytes(metric, coverage, 1, itemsize, combiner)))
    advice = "" if no_blocks else "use `optimizer: {name: greedy, path: blocks}`, "
    if no_blocks and (coverage.kernel is None or coverage.kernel.picks_in_blocks is None):
        advice = "use a coverage function that can be read in blocks, "
    advice += "cut the tokens into groups" + (f" of at most {most}" if most else "")
    advice += (
        f" (`partition: {{name: chunks, count: N}}`, or `tile` for an image of several tiles), or {_more(allowed)}"
    )
    without = no_blocks or "the optimizer asks for it; one that is exact greedy, its path left open, need not"
    return (
        f"similarity {metric} and coverage {coverage} of {count} tokens take {said(need)} for matrices of "
        f"{count} x {count}, and {short}; it is not done without the matrix: {without}. What helps: {advice}"
    )
