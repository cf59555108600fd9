"""Several picks per step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import greedy
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem


class KPerStepSpec(ComponentSpec):
    """Greedy with several picks before gains are looked at again."""

    name: Literal["k_per_step"] = "k_per_step"
    step: Annotated[int, Field(ge=1)] = 4
    """Picks per step: 1 is the exact greedy, as many as are kept a plain top-k."""


class KPerStep(Optimizer[KPerStepSpec]):
    """The ``step`` highest scores are picked at once, then gains are updated; an approximation of greedy for step > 1.

    Ties break to the lowest index. IDPruner (AngelSlim) has it as an option.
    """

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in the order they were made, required tokens first."""
        return greedy(problem, keep, every=self.spec.step, ways=self.ways)
