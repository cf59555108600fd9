"""Top-k: the highest scores at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scope_core import rank
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem


class TopKSpec(ComponentSpec):
    """Tokens ranked by the score that each has on its own."""

    name: Literal["top_k"] = "top_k"


class TopK(Optimizer[TopKSpec]):
    """The highest scores, with gains of the empty set that are never updated; equal to greedy for modular coverage."""

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks from the highest score down; ties break to the lowest index."""
        if problem.combiner.uses_coverage:
            gain = problem.gain(problem.start())
        else:
            gain = problem.tokens.features.new_ones(problem.tokens.shape[:2])
        return rank(problem.score(gain), gain, problem, keep)
