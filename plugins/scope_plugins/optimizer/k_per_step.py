"""Greedy selection with several picks between updates of gains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import greedy
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem


class KPerStepSpec(ComponentSpec):
    """Greedy selection with several picks between updates of gains."""

    name: Literal["k_per_step"] = "k_per_step"
    step: Annotated[int, Field(ge=1)] = 4
    """Picks per step: 1 is exact greedy selection, the whole budget is plain top-k."""


class KPerStep(Optimizer[KPerStepSpec]):
    """The ``step`` highest scores are picked at once, then gains are updated; an approximation of greedy for step > 1.

    Ties break to the lowest index. Source: IDPruner (AngelSlim), where it is an option.
    """

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in order, required tokens first."""
        return greedy(problem, keep, every=self.spec.step, ways=self.ways)
