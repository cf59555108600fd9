"""`Optimizer`: the order in which tokens are picked by score."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from scope_core.parts.base import Part, S
from scope_core.parts.execution import Way
from scope_core.parts.problem import Problem
from scope_core.structures.picks import Picks


class Optimizer(Part[S]):
    """The order in which tokens are picked by score, e.g. greedily.

    Groups are independent of each other; large ones may be given one at a time.

    Attributes:
        exact: True if the picks are those of exact greedy, with ties to the lowest index.
        ways: The ways in which its picks can be computed, as it passes them to `greedy`; by default from the whole
            matrix only.
    """

    exact: ClassVar[bool] = False
    ways: ClassVar[tuple[Way, ...]] = ("dense",)
    copies: ClassVar[float] = 0

    @abstractmethod
    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """``keep[b]`` distinct picks of each group b, all from ``problem.candidates``."""
