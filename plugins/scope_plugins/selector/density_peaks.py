"""Tokens in the middle of groups of similar ones, best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector
from scope_plugins._density import peaks
from scope_plugins.selector._rows import ranked, selection_of


class DensityPeaksSpec(ComponentSpec):
    """Density peaks."""

    name: Literal["density_peaks"] = "density_peaks"
    neighbours: Annotated[int, Field(ge=1)] = 4
    """Nearest tokens, itself included, from which a token's density is computed."""


class DensityPeaks(Selector[DensityPeaksSpec]):
    """Tokens that stand for many others like them, far from each other.

    Use it for tokens that others are merged into; salient tokens are often alone of their kind.

    With ``d_ij = |x_i - x_j| / sqrt(D)``: the density ``rho_i`` is ``exp(-mean d_ij^2)`` over the nearest tokens,
    ``delta_i`` the distance to the nearest denser token (for the densest, the greatest of all distances); the highest
    ``rho delta`` are picked, required tokens first. Of equal densities, the lower index counts as denser. All tokens
    equal: the first ones. Source: density peaks with nearest neighbours, Du et al. 2016; FastVID, arXiv 2503.11187.
    """

    equivariant = False

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """Memory for the distances of the largest group, sorted ones and a mask."""
        return Execution(memory=3 * max(sizes, default=0) ** 2 * itemsize)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Peaks from the highest on."""
        picks, values = [], []
        for group, count in enumerate(keep):
            index = tokens.valid[group].nonzero().flatten()
            score = tokens.features.new_full(tokens.shape[1:2], -float("inf"))
            if count and len(index):
                score[index] = peaks(tokens.features[group, index], self.spec.neighbours)[0]
            picks.append(ranked(score, tokens, group)[:count])
            values.append(score[picks[-1]].exp())
        return selection_of(picks, [value.new_ones(value.shape) for value in values], values, tokens)
