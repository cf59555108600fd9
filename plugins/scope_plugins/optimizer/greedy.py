"""Exact greedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scope_core import greedy
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem, Way


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
    def ways(self) -> tuple[Way, ...]:  # type: ignore[override]  # as was asked for
        """Any, unless one was asked for."""
        asked: dict[str, tuple[Way, ...]] = {"compiled": ("kernel",), "loop": ("dense",), "blocks": ("blocks",)}
        return asked.get(self.spec.path, ("dense", "kernel", "blocks"))

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in greedy order.

        Raises:
            SpecError: ``path: compiled`` or ``blocks`` was asked for where there is no such way.
        """
        return greedy(problem, keep, ways=self.ways)
