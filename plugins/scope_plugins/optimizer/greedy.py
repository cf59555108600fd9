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
    path: Literal["auto", "compiled", "loop"] = "auto"
    """The same picks in different time: ``compiled`` is a coverage function's compiled way (numba on the CPU, Triton on
    CUDA) or an error that says why there is none, ``loop`` one gain at a time, ``auto`` the first where it can be."""


class Greedy(Optimizer[GreedySpec]):
    """K rounds of argmax; ties break to the lowest index. Nemhauser, Wolsey, Fisher 1978."""

    exact = True

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in greedy order.

        Raises:
            SpecError: ``path: compiled`` was asked for where there is no compiled way.
        """
        from scope_core import SpecError, greedy

        if self.spec.path == "compiled" and (reason := problem.why_no_picks()):
            raise SpecError(
                f"optimizer {self} has path 'compiled', and there is no compiled way: {reason}; or use path 'auto'"
            )
        return greedy(problem, keep, at_once=self.spec.path != "loop")
