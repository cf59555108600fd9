"""Facility location: how well every token is represented by its best kept token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec, CoverageFunction

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Picks, VisualTokens


class FacilityLocationSpec(ComponentSpec):
    """Sum over all tokens of the best similarity to a kept one, negatives counting as 0."""

    name: Literal["facility_location"] = "facility_location"


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    best: Tensor  # (B, N): running maximum c_i, starts at 0
    gains: Tensor  # (B, N)


class FacilityLocation(CoverageFunction[FacilityLocationSpec]):
    """``f(A) = sum_i max(0, max_{j in A} S_ij)``; gain ``g_j = sum_i max(0, S_ij - c_i)``, ``c_i`` from 0.

    Because the running maximum starts at 0, a negative similarity never counts. Source: SCOPE, arXiv
    2510.24214; Cornuejols et al. 1977 for facility location.
    """

    monotone = True
    submodular = True

    def picks(
        self, similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]
    ) -> Picks | None:
        """Greedy in one compiled loop on the CPU, where numba is installed (``pip install "scope-core[fast]"``)."""
        import torch

        from scope_core import Picks
        from scope_plugins.coverage._compiled import available, kernel

        if similarity.device.type != "cpu" or not available():
            return None
        most = max(keep, default=0)
        picks = torch.full((len(keep), most), -1, device="cpu")
        gains = torch.full((len(keep), most), torch.nan, dtype=torch.float64, device="cpu")
        scores = gains.clone()
        matrix = on_grid(similarity).contiguous().numpy()
        level = (tokens.valid.to(torch.int8) + (tokens.valid & tokens.required)).contiguous().numpy()
        # scores of padding may hold anything, and the loop reads the first token's to know the type
        factor, added = (column.masked_fill(~tokens.valid, 0).contiguous().numpy() for column in (scale, offset))
        run = kernel()
        for group, count in enumerate(keep):
            out = (column[group, :count].numpy() for column in (picks, gains, scores))
            run(matrix[group], level[group], factor[group], added[group], *out)
            if bool((picks[group, :count] < 0).any()):
                return None  # a score that is no number: the loop says which
        return Picks(picks, gains, scores)

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        similarity = on_grid(similarity)
        best = tokens.features.new_zeros(tokens.shape[:2])
        return _State(similarity, best, _full_gains(similarity, best))

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Raise the running maximum; only rows where it rose can change a gain."""
        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        best = state.best.maximum(state.similarity.gather(2, index)[..., 0])
        if best.dtype.itemsize < 4:  # as published: half precision re-sums every row, rounding included
            return _State(state.similarity, best, _full_gains(state.similarity, best))
        group, row = (best > state.best).nonzero(as_tuple=True)
        # sums are exact on the grid, so gains neither drift over hundreds of picks nor depend on the order
        rows = state.similarity[group, row].double()
        lost = (rows - state.best[group, row, None]).clamp_(min=0) - (rows - best[group, row, None]).clamp_(min=0)
        return _State(state.similarity, best, state.gains.index_add(0, group, lost, alpha=-1))


def on_grid(similarity: Tensor) -> Tensor:
    """The matrix rounded to multiples of a power of two so small that sums of a column are exact in float64.

    Then gains depend neither on the order of summation nor on whether they are kept up to date or summed anew, and
    equal gains are equal to the last bit, whoever computes them. For N = 576 and similarities up to 1 the step is
    2^-41, far below what float32 says of a cosine; half precision stays as it is.
    """
    import torch

    if similarity.dtype.itemsize < 4 or not similarity.numel():
        return similarity
    largest = float(similarity.abs().amax())
    if largest == 0:
        return similarity
    step = 2.0 ** (frexp(largest)[1] + similarity.shape[-1].bit_length() - 52)
    if step < torch.finfo(similarity.dtype).tiny:  # similarities of 1e-25 at most: nothing to round to
        return similarity
    return (similarity / step).round_().mul_(step)


def _full_gains(similarity: Tensor, best: Tensor) -> Tensor:
    if best.dtype.itemsize < 4:
        return (similarity - best[:, :, None]).clamp_(min=0).sum(1)
    return (similarity.double() - best[:, :, None]).clamp_(min=0).sum(1)
