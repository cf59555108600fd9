"""Every s-th token, whatever the scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from scope_core import rank
from scope_core.parts import ComponentSpec, Optimizer, Picks, Problem


class StrideSpec(ComponentSpec):
    """Tokens at an even stride, from the first on."""

    name: Literal["stride"] = "stride"


class Stride(Optimizer[StrideSpec]):
    """Every s-th candidate in raster order, whatever the scores.

    Use it to repeat VisionZip, whose merge targets these are; `grid` spreads tokens evenly, while a stride that was
    rounded down leaves out the end of the image.

    Positions ``0, s, 2s, ...`` with ``s = floor(n / K)`` among the n candidates. Source: VisionZip, arXiv 2412.04467.
    """

    equivariant = False

    def optimize(self, problem: Problem, keep: Sequence[int]) -> Picks:
        """Picks in raster order, required tokens first."""
        tokens = problem.tokens
        score = tokens.features.new_zeros(tokens.shape[:2])
        for group, count in enumerate(keep):
            required = tokens.required[group] & tokens.valid[group]
            free = (tokens.valid[group] & ~required).nonzero().flatten()
            wanted = min(max(count - int(required.sum()), 0), len(free))
            if wanted:
                score[group, free[:: len(free) // wanted][:wanted]] = 1
        return rank(score, score.new_ones(score.shape), problem, keep, by_place=True)
