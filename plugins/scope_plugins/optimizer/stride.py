"""Every s-th token, whatever the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scope_core import rank
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem


class StrideSpec(ComponentSpec):
    """Tokens at one even stride, from the first on."""

    name: Literal["stride"] = "stride"


class Stride(Optimizer[StrideSpec]):
    """Positions ``0, s, 2s, ...`` with ``s = floor(n / K)`` among the n candidates, in the order they lie in.

    The end of the image is left out where s is rounded down; `grid` spreads evenly. Source: the targets of VisionZip,
    arXiv 2412.04467.
    """

    equivariant = False

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in raster order, required tokens first."""
        tokens = problem.tokens
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, count in enumerate(keep):
            must = tokens.required[group] & tokens.valid[group]
            free = (tokens.valid[group] & ~must).nonzero().flatten()
            wanted = min(max(count - int(must.sum()), 0), len(free))
            if wanted:
                score[group, free[:: len(free) // wanted][:wanted]] = 1
        return rank(score, score.new_ones(score.shape), problem, keep)
