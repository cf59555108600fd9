"""Exact greedy selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scope_core import greedy
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem, Way


class GreedySpec(ComponentSpec):
    """Pick the highest score, update gains, repeat."""

    name: Literal["greedy"] = "greedy"
    path: Literal["auto", "compiled", "loop", "blocks"] = "auto"
    """The execution, which changes the time but not the picks. ``compiled``: the kernel of the coverage function (numba
    on the CPU, Triton on CUDA), or an error with the reason why it cannot run. ``loop``: step by step in torch.
    ``blocks``: without the N x N matrix, or an error with the reason why it is needed. ``auto``: ``compiled`` if
    possible, else the same in torch or ``loop``, and ``blocks`` if the matrix does not fit into memory. ``blocks`` may
    pick differently among scores that are equal up to rounding: of float32 for cosines, of the longest vector's length
    for dot products."""


class Greedy(Optimizer[GreedySpec]):
    """The token of highest score is picked, gains are updated, and so on.

    Use it by default: it is within 1 - 1/e of the best set for monotone submodular coverage alone. Ties break to the
    lowest index. Source: Nemhauser, Wolsey, Fisher 1978.
    """

    exact = True

    @property
    def ways(self) -> tuple[Way, ...]:  # type: ignore[override]  # follows from the options
        """All, or the one that ``path`` names."""
        by_path: dict[str, tuple[Way, ...]] = {"compiled": ("kernel",), "loop": ("dense",), "blocks": ("blocks",)}
        return by_path.get(self.spec.path, ("dense", "kernel", "blocks"))

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in greedy order.

        Raises:
            SpecError: ``path`` is ``compiled`` or ``blocks``, which is not possible for these parts.
        """
        return greedy(problem, keep, ways=self.ways)
