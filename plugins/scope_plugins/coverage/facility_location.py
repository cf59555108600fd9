"""Facility location: how well every token is represented by its best kept token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage import _device

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

    @property
    def matrices(self) -> float:  # type: ignore[override]  # it depends on what is installed
        """None: the compiled loop rounds as it reads. Without it, a rounded copy."""
        from scope_plugins.coverage import _compiled

        return 0 if _compiled.available() else 1

    def picks(
        self, similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]
    ) -> Picks | None:
        """Greedy in one compiled loop: numba's on the CPU (``pip install "scope-core[fast]"``), Triton's on CUDA."""
        if self.why_no_picks(similarity):
            return None
        if not _device.on_host(similarity):
            from scope_plugins.coverage._triton import picks as on_device

            return on_device(similarity, tokens, scale, offset, keep)
        from scope_plugins.coverage._compiled import picks

        return picks(similarity, tokens, scale, offset, keep, grid(similarity))

    def why_no_picks(self, similarity: Tensor) -> str:
        """No compiler for that device, or half precision."""
        from scope_plugins.coverage import _compiled, _triton

        if similarity.dtype.itemsize < 4:
            return f"sums in {similarity.dtype} are rounded at each step, as published; use dtype: float32"
        if not _device.on_host(similarity):
            return _triton.why_not(similarity.device)
        return "" if _compiled.available() else 'numba is not installed; pip install "scope-core[fast]"'

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
        import torch

        index = pick[:, None, None].expand(-1, state.similarity.shape[1], 1)
        best = state.best.maximum(state.similarity.gather(2, index)[..., 0])
        # as published, half precision re-sums every row, rounding included; and on an accelerator to ask which rows
        # rose would wait for it
        if best.dtype.itemsize < 4 or not _device.on_host(best):
            return _State(state.similarity, best, _full_gains(state.similarity, best))
        group, row = (best > state.best).nonzero(as_tuple=True)
        # sums are exact on the grid, so gains neither drift over hundreds of picks nor depend on the order
        gains, few = state.gains.clone(), max(1, _device.BLOCK // best.shape[1])
        for mine, risen in zip(torch.split(group, few), torch.split(row, few), strict=True):
            rows = state.similarity[mine, risen].double()
            lost = (rows - state.best[mine, risen, None]).clamp_(min=0) - (rows - best[mine, risen, None]).clamp_(min=0)
            gains.index_add_(0, mine, lost, alpha=-1)
        return _State(state.similarity, best, gains)


def on_grid(similarity: Tensor) -> Tensor:
    """The matrix rounded to multiples of a power of two so small that sums of a column are exact in float64.

    Then gains depend neither on the order of summation nor on whether they are kept up to date or summed anew, and
    equal gains are equal to the last bit, whoever computes them. For N = 576 and similarities up to 1 the step is
    2^-41, far below what float32 says of a cosine; half precision stays as it is.
    """
    if not _device.on_host(similarity):
        return _device.on_grid(similarity)
    step, _ = grid(similarity)
    return (similarity / step).round_().mul_(step) if step else similarity


def grid(similarity: Tensor) -> tuple[float, float]:
    """The grid's step, and the largest absolute similarity; a step of 0 where numbers are to stay as they are."""
    import torch

    if similarity.dtype.itemsize < 4 or not similarity.numel():
        return 0.0, 0.0
    similarity = similarity.detach()
    largest = max(float(similarity.amax()), -float(similarity.amin()))
    if largest == 0:
        return 0.0, 0.0
    step = 2.0 ** (frexp(largest)[1] + similarity.shape[-1].bit_length() - 52)
    # similarities of 1e-25 at most: nothing to round to
    return (0.0, largest) if step < torch.finfo(similarity.dtype).tiny else (step, largest)


def _full_gains(similarity: Tensor, best: Tensor) -> Tensor:
    import torch

    if best.dtype.itemsize >= 4:
        return _device.full_gains(similarity, best)
    # columns a few at a time: their sums are those of the whole, which is never made
    columns = torch.split(similarity, max(1, _device.BLOCK // max(1, best.numel())), dim=2)
    return _device.joined([(some - best[:, :, None]).clamp_(min=0).sum(1) for some in columns])
