"""Exact greedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec, Optimizer

if TYPE_CHECKING:
    from scope_core import Picks, Problem


class GreedySpec(ComponentSpec):
    """Pick the highest score, update gains, repeat."""

    name: Literal["greedy"] = "greedy"
    path: Literal["auto", "compiled", "loop", "blocks"] = "auto"
    """The same picks in different time: ``compiled`` is a coverage function's compiled way (numba on the CPU, Triton on
    CUDA) or an error that says why there is none, ``loop`` one gain at a time, ``auto`` the first where it can be.
    ``blocks`` never makes the N x N matrix, or is an error that says why it must; so is ``auto`` where the matrix does
    not fit. Its picks are the others' but where scores are equal up to
    rounding: of float32 for cosines, of the longest vector's length for dot products."""


class Greedy(Optimizer[GreedySpec]):
    """K rounds of argmax; ties break to the lowest index. Nemhauser, Wolsey, Fisher 1978."""

    exact = True

    @property
    def in_blocks(self) -> Literal["never", "short", "always"]:  # type: ignore[override]  # as was asked for
        """Where there is no room for the matrix, unless one way was asked for."""
        ways: dict[str, Literal["short", "always"]] = {"auto": "short", "blocks": "always"}
        return ways.get(self.spec.path, "never")

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in greedy order.

        Raises:
            SpecError: ``path: compiled`` or ``blocks`` was asked for where there is no such way.
        """
        from scope_core import SpecError, greedy

        if self.spec.path == "blocks" and problem.uses_similarity:
            if reason := problem.why_no_blocks():
                raise SpecError(
                    f"optimizer {self} has path 'blocks', and there is no such way: {reason}; use path 'auto'"
                )
            return problem.picks_in_blocks(keep)

        if self.spec.path == "compiled":
            reason = problem.why_no_picks()
            made = None if reason else problem.picks(keep)
            if made is None:
                reason = reason or "it does not take these numbers: path 'loop' says whether a score is none"
                raise SpecError(
                    f"optimizer {self} has path 'compiled', and there is no compiled way: {reason}; or use path 'auto'"
                )
            return made
        return greedy(problem, keep, at_once=self.spec.path != "loop")
