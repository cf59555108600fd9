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
    path: Literal["auto", "loop"] = "auto"
    """``auto`` goes a coverage function's compiled way if it has one, ``loop`` one gain at a time: the same picks."""


class Greedy(Optimizer[GreedySpec]):
    """K rounds of argmax; ties break to the lowest index. Nemhauser, Wolsey, Fisher 1978."""

    exact = True

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in greedy order."""
        from scope_core import greedy

        return greedy(problem, keep, at_once=self.spec.path == "auto")
