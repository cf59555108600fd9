"""`plan_execution`: decides how greedy's picks are computed: by the loop, by a kernel, in blocks, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal, NamedTuple

import torch

from scope_core.display import brief_repr
from scope_core.errors import ScopeError, SpecError, TooLargeError
from scope_core.memory import UNCHECKED_BYTES, readable_size, shortfall_message
from scope_core.parts.combiner import Combiner
from scope_core.parts.coverage import CoverageFunction
from scope_core.parts.similarity import SimilarityMetric
from scope_core.structures.blocks import blocks_bytes

Way = Literal["dense", "kernel", "blocks"]
WAYS: tuple[Way, ...] = ("dense", "kernel", "blocks")
"""Ways to compute the same picks, which differ in time and memory: one pick at a time from the whole matrix, all picks
at once by the coverage function's `Kernel`, or from blocks of the matrix that are computed when they are read."""


class Scoring(NamedTuple):
    """The three parts that turn similarities into scores."""

    similarity: SimilarityMetric[Any]
    coverage: CoverageFunction[Any]
    combiner: Combiner[Any]


@dataclass(frozen=True)
class Execution:
    """The way in which picks are computed, and the memory it takes.

    Attributes:
        way: ``"dense"``, ``"kernel"``, ``"blocks"``, or ``"refuse"``.
        memory: Bytes that N x N matrices take at once; 0 if none is computed.
        in_blocks: True if similarities can be computed in blocks: always, if ``memory`` is 0, else if ``memory`` bytes
            are not free.
        limit: Bytes that similarities may take; None for nine tenths of the free memory.
        reason: Why the selection is refused; empty if it is not.
        error: The class that `check` raises for a refusal.
    """

    way: Literal["dense", "kernel", "blocks", "refuse"] = "dense"
    memory: int = 0
    in_blocks: bool = False
    limit: int | None = None
    reason: str = ""
    error: type[ScopeError] = SpecError

    __repr__ = brief_repr

    def check(self, who: Callable[[], str]) -> None:
        """Raise ``error`` if the way is ``"refuse"``; ``who()`` names the tokens in the message."""
        if self.way == "refuse":
            raise self.error(f"{who()}: {self.reason}")

    @staticmethod
    def of(inner: Iterable[Execution]) -> Execution:
        """The execution of several selectors in turn: the most memory, the lowest limit, the first refusal."""
        inner = tuple(inner)
        readers = [step for step in inner if step.memory or step.in_blocks]
        refused = next((step for step in inner if step.way == "refuse"), Execution())
        ways = {step.way for step in inner}
        return Execution(
            refused.way if refused.reason or len(ways) != 1 else ways.pop(),
            max((step.memory for step in inner), default=0),
            bool(readers) and all(step.in_blocks for step in readers),
            min((step.limit for step in inner if step.limit is not None), default=None),
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
    """The way in which greedy's picks are computed. Pure.

    In blocks if no other way is allowed or the matrix does not fit into memory; else by the kernel if it can; else by
    the loop.

    Args:
        parts: The parts that make scores.
        sizes: Tokens of each group whose matrices are in memory at the same time.
        itemsize: Bytes of a number: 4 for float32.
        ways: The allowed ways: `Optimizer.ways`.
        allowed: Bytes that may be used; None for nine tenths of ``free``.
        free: Free bytes; None if unknown.
        device: Device of the tokens.
    """
    itemsize = max(itemsize, parts.similarity.least_itemsize)
    no_kernel = why_no_kernel(parts, itemsize, device) if "kernel" in ways else "the optimizer does not allow it"
    if no_kernel and tuple(ways) == ("kernel",):
        reason = f"path 'compiled' is not possible here: {no_kernel}; or use path 'auto'"
        return Execution("refuse", limit=allowed, reason=reason)
    whole: Literal["dense", "kernel"] = "dense" if no_kernel else "kernel"
    if not reads_similarity(parts):
        return Execution(whole, limit=allowed)
    count = max(sizes, default=0)
    need = sum(matrix_bytes(parts.similarity, parts.coverage, size, itemsize, parts.combiner) for size in sizes)
    no_blocks = why_no_blocks(parts, itemsize) if "blocks" in ways else "the optimizer does not allow it"
    only_blocks = tuple(ways) == ("blocks",)
    if only_blocks and no_blocks:
        reason = f"path 'blocks' is not possible here: {no_blocks}; use path 'auto'"
        return Execution("refuse", need, limit=allowed, reason=reason)
    shortfall = shortfall_message(need, allowed, free)
    if not no_blocks and (only_blocks or shortfall):
        if reason := blocks_refusal(parts.similarity, count, None, allowed, free, device=device):
            return Execution("refuse", 0, True, allowed, reason, TooLargeError)
        return Execution("blocks", 0, True, allowed)
    if shortfall:
        reason = _too_large(parts, sizes, itemsize, need, shortfall, allowed, free)
        return Execution("refuse", need, False, allowed, reason, TooLargeError)
    return Execution(whole, need, not no_blocks, allowed)


def reads_similarity(parts: Scoring) -> bool:
    """True if any part reads similarities."""
    return bool(parts.coverage.uses_similarity and parts.combiner.uses_coverage)


def matrix_bytes(
    metric: SimilarityMetric[Any],
    coverage: CoverageFunction[Any],
    count: int,
    itemsize: int,
    combiner: Combiner[Any] | None = None,
) -> int:
    """Bytes that all N x N matrices of one group of ``count`` tokens take at once."""
    conditioned = combiner.matrices if combiner is not None and combiner.condition is not None else 0
    matrices = max(metric.matrices, 1 + conditioned, 1 + coverage.matrices)
    return int(matrices * count**2 * max(itemsize, metric.least_itemsize))


def why_no_kernel(parts: Scoring, itemsize: int, device: torch.device | str = "cpu") -> str:
    """The reason why no kernel can compute the picks, for messages; empty if one can."""
    if reason := _why_not_affine(parts, itemsize):
        return reason
    kernel = parts.coverage.kernel
    if kernel is None:
        return f"coverage {parts.coverage} has no kernel for its `start`, `gain` and `add`"
    reason = kernel.why_not(parts.coverage, torch.device(device))
    return reason and f"coverage {parts.coverage}: {reason}"


def why_no_blocks(parts: Scoring, itemsize: int) -> str:
    """The reason why picks cannot be computed in blocks, for messages; empty if they can."""
    metric, coverage, combiner = parts
    if metric.vectors is None:
        return f"similarity {metric} has no `vectors`, whose dot products are the similarities"
    if coverage.kernel is None or coverage.kernel.picks_in_blocks is None:
        return f"coverage {coverage} reads the whole matrix"
    if combiner.condition is not None:
        return f"combiner {combiner} changes the matrix"
    return _why_not_affine(parts, itemsize)


def _why_not_affine(parts: Scoring, itemsize: int) -> str:
    combiner = parts.combiner
    if not combiner.uses_coverage:
        return f"combiner {combiner} reads no coverage"
    if itemsize < 4:
        return "sums in half precision are rounded at each step, as in the published code; use `dtype: float32`"
    if combiner.affine is None:
        return f"combiner {combiner} has no `affine`, which gives its score as gain * scale + offset"
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
    """The reason why even selection in blocks does not fit into memory, for messages; empty if it does.

    Args:
        metric: The similarity metric.
        count: Tokens of the group.
        width: Length of a token's vector; None if not known yet.
        allowed: As for `plan_execution`.
        free: As for `plan_execution`.
        itemsize: Bytes of a vector's number.
        device: Device of the tokens.
    """
    need = blocks_bytes(count, width or 1, device, itemsize)
    shortfall = shortfall_message(need, allowed, free)
    if not shortfall:
        return ""
    vectors = f"{count} vectors" + ("" if width is None else f" of {width} numbers")
    return (
        f"even without the matrix of {metric}, {vectors} and blocks of their products take "
        f"{readable_size(need)}{' or more' if width is None else ''}, and {shortfall}; divide the tokens into smaller "
        f"groups (`partition: {{name: chunks, count: N}}`), or {_get_more(allowed)}"
    )


def _get_more(allowed: int | None) -> str:
    return "free some memory" if allowed is None else "raise `memory` (GiB)"


def _too_large(
    parts: Scoring,
    sizes: Sequence[int],
    itemsize: int,
    need: int,
    shortfall: str,
    allowed: int | None,
    free: int | None,
) -> str:
    """The message of `TooLargeError`: memory needed and free, why blocks are not possible, and what to do."""
    metric, coverage, combiner = parts
    count, no_blocks = max(sizes), why_no_blocks(parts, itemsize)
    usable = allowed if allowed is not None else max(UNCHECKED_BYTES, int(0.9 * free)) if free is not None else 0
    most = isqrt(usable // (len(sizes) * matrix_bytes(metric, coverage, 1, itemsize, combiner)))
    advice = "" if no_blocks else "use `optimizer: {name: greedy, path: blocks}`, "
    if no_blocks and (coverage.kernel is None or coverage.kernel.picks_in_blocks is None):
        advice = "use a coverage function that can be computed in blocks, "
    advice += "divide the tokens into groups" + (f" of at most {most}" if most else "")
    advice += (
        f" (`partition: {{name: chunks, count: N}}`, or `tile` for an image of several tiles), or {_get_more(allowed)}"
    )
    obstacle = no_blocks or "the optimizer needs the whole matrix (greedy with path 'auto' does not)"
    return (
        f"similarity {metric} and coverage {coverage} of {count} tokens take {readable_size(need)} for matrices of "
        f"{count} x {count}, and {shortfall}; block-wise selection is not possible here: {obstacle}. "
        f"What helps: {advice}"
    )
