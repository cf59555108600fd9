"""`Optimizer`: how picks are made from scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from scope_core.parts.base import Part, S
from scope_core.parts.execution import Way
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks


class Optimizer(Part[S]):
    """How picks are made from scores.

    Groups are independent of each other, and large ones may come one at a time.

    Attributes:
        exact: Whether its picks are those of exact greedy, ties to the lowest index.
        ways: How its picks can be made: what it gives `greedy`. The matrix alone, if it does not say.
    """

    exact: ClassVar[bool] = False
    ways: ClassVar[tuple[Way, ...]] = ("dense",)

    @abstractmethod
    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """``keep[b]`` picks of each group, from ``problem.candidates`` only, each at most once."""
