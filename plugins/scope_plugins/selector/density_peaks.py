"""Tokens in the middle of groups of similar ones, best first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import Selection, VisualTokens
from scope_core.parts import ComponentSpec, Execution, Selector
from scope_plugins._density import peaks
from scope_plugins.selector._rows import ranked, selection_of


class DensityPeaksSpec(ComponentSpec):
    """Density peaks."""

    name: Literal["density_peaks"] = "density_peaks"
    neighbours: Annotated[int, Field(ge=1)] = 4
    """Nearest tokens, itself included, from which a token's density is computed."""
    at_most_kept: bool = False
    """No more neighbours than tokens to keep."""
    merge: bool = False
    """Merge every other token into the nearest pick, for the merger `average`."""
    share: Annotated[float, Field(ge=0, le=1)] | None = None
    """With ``merge``, weight of a pick in its row, if others are merged into it; these share the rest equally. Null:
    all tokens of a row weigh the same."""

    @model_validator(mode="after")
    def _merges(self) -> Self:
        if self.share is not None and not self.merge:
            raise ValueError("share is the weight of a pick among the tokens merged into it; set merge: true as well")
        return self


class DensityPeaks(Selector[DensityPeaksSpec]):
    """Tokens that stand for many others like them, far from each other.

    Use it for tokens that others are merged into; salient tokens are often alone of their kind.

    With ``d_ij = |x_i - x_j| / sqrt(D)``: the density ``rho_i`` is ``exp(-mean d_ij^2)`` over the nearest tokens,
    ``delta_i`` the distance to the nearest denser token (for the densest, the greatest of all distances); the highest
    ``rho delta`` are picked, required tokens first. Of equal densities, the lower index counts as denser. All tokens
    equal: the first ones. With ``merge``, each token goes to the nearest pick, ties to the higher peak.
    Source: density peaks with nearest neighbours, Du et al. 2016; FastVID, arXiv 2503.11187; FlashVID, ICLR 2026, and
    HoliTom, arXiv 2505.21334 (merging).
    """

    equivariant = False

    def execution(self, sizes: Sequence[int], itemsize: int, free: int | None = None) -> Execution:
        """Memory for the distances of the largest group, sorted ones and a mask."""
        return Execution(memory=3 * max(sizes, default=0) ** 2 * itemsize)

    def select(self, tokens: VisualTokens, keep: Sequence[int]) -> Selection:
        """Peaks from the highest on."""
        picks, values = [], []
        home, weight = torch.full_like(tokens.row, -1), torch.ones_like(tokens.features[..., 0])
        for group, count in enumerate(keep):
            index = tokens.valid[group].nonzero().flatten()
            score = tokens.features.new_full(tokens.shape[1:2], -float("inf"))
            near = None
            if count and len(index):
                few = self.spec.neighbours if not self.spec.at_most_kept else min(self.spec.neighbours, count)
                score[index], near = peaks(tokens.features[group, index], few)
            picks.append(ranked(score, tokens, group)[:count])
            values.append(score[picks[-1]].exp())
            if near is not None and self.spec.merge:
                self._merge(near, index, picks[-1], home[group], weight[group])
        gains = [value.new_ones(value.shape) for value in values]
        if not self.spec.merge:
            return selection_of(picks, gains, values, tokens)
        shares = None if self.spec.share is None else weight
        return selection_of(picks, gains, values, tokens, assigned=home, shares=shares)

    def _merge(self, distance: Tensor, index: Tensor, picked: Tensor, home: Tensor, weight: Tensor) -> None:
        """Write the pick of each token into ``home`` and its weight into ``weight``, both (N,)."""
        nearest = picked[distance[:, torch.searchsorted(index, picked)].argmin(1)]
        home[index] = nearest
        home[picked] = picked
        if (share := self.spec.share) is not None:
            others = home[index].bincount(minlength=len(home)) - 1
            weight[index] = (1 - share) / others[home[index]].clamp(min=1).to(weight)
            weight[picked] = torch.ones_like(weight[picked]).masked_fill(others[picked] > 0, share)
