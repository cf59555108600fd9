"""Stochastic greedy: each pick is the best of a random sample."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import greedy
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem


class StochasticSpec(ComponentSpec):
    """Greedy selection over seeded random samples, an approximation."""

    name: Literal["stochastic"] = "stochastic"
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Loss of quality: each pick is the best of ``ceil(N / K * log(1 / epsilon))`` random candidates."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed; a group's samples depend only on it, on the number of valid tokens and on the count."""


class Stochastic(Optimizer[StochasticSpec]):
    """Each pick is the best of a random sample, so the picks differ from those of exact greedy selection.

    Use it to measure what sampling costs in quality. It saves no time here, since coverage functions compute the gains
    of all tokens at once.

    For monotone submodular coverage alone, within ``1 - 1/e - epsilon`` of the best set in expectation.
    Source: Mirzasoleiman et al., "Lazier than lazy greedy", AAAI 2015.
    """

    equivariant = False

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in order, required tokens first."""
        valid = problem.candidates
        sizes = [
            ceil(int(row.sum()) / count * -log(self.spec.epsilon)) if count else 0
            for row, count in zip(valid, keep, strict=True)
        ]
        generators = [torch.Generator("cpu").manual_seed(self.spec.seed) for _ in keep]
        places = [row.nonzero().flatten() for row in valid]

        def sample(open_: Tensor) -> Tensor:
            chosen = torch.zeros_like(open_)
            for group, (size, generator) in enumerate(zip(sizes, generators, strict=True)):
                shuffled = torch.randperm(len(places[group]), generator=generator, device="cpu")
                order = places[group][shuffled.to(valid.device)]
                among = open_[group, order]
                chosen[group, order] = among & (among.cumsum(0) <= size)  # the first that are open
            return chosen

        return greedy(problem, keep, among=sample)
