"""Facility location: how well every token is represented by its best kept token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp
from typing import TYPE_CHECKING, Literal

from scope_core import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import Blocks, Picks, VisualTokens


class FacilityLocationSpec(ComponentSpec):
    """Sum over all tokens of the best similarity to a kept one, negatives counting as 0."""

    name: Literal["facility_location"] = "facility_location"


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    rounder: Tensor  # (1,): similarities are rounded to the grid as they are read, so that no copy is made
    best: Tensor  # (B, N): running maximum c_i, starts at 0
    gains: Tensor  # (B, N)


class FacilityLocation(CoverageFunction[FacilityLocationSpec]):
    """``f(A) = sum_i max(0, max_{j in A} S_ij)``; gain ``g_j = sum_i max(0, S_ij - c_i)``, ``c_i`` from 0.

    Because the running maximum starts at 0, a negative similarity never counts. Source: SCOPE, arXiv
    2510.24214; Cornuejols et al. 1977 for facility location.
    """

    monotone = True
    submodular = True

    matrices = 0

    def picks(
        self, similarity: Tensor, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: Sequence[int]
    ) -> Picks | None:
        """Greedy in one compiled loop: numba's on the CPU (``pip install numba``), Triton's on CUDA."""
        if self.why_no_picks(similarity):
            return None
        if not arithmetic.on_host(similarity):
            from scope_plugins.coverage._fast.on_triton import picks as on_device

            return on_device(similarity, tokens, scale, offset, keep)
        from scope_plugins.coverage._fast.compiled import picks

        return picks(similarity, tokens, scale, offset, keep, grid(similarity))

    def why_no_picks(self, similarity: Tensor) -> str:
        """No compiler for that device, or half precision."""
        from scope_plugins.coverage._fast import compiled, on_triton

        if similarity.element_size() < 4:
            return f"sums in {similarity.dtype} are rounded at each step, as published; use dtype: float32"
        if not arithmetic.on_host(similarity):
            return on_triton.why_not(similarity.device)
        return "" if compiled.available() else compiled.NO_NUMBA

    def picks_in_blocks(self, blocks: Blocks, tokens: VisualTokens, scale: Tensor, offset: Tensor, keep: int) -> Picks:
        """Greedy in which only rows whose running maximum rises are computed again; all where most do."""
        import torch

        from scope_plugins.coverage._fast.in_blocks import greedy, rises

        best = torch.zeros_like(blocks.own)

        def after(pick: Tensor, gain: Tensor) -> Tensor:
            nonlocal best
            had, best = best, best.maximum(blocks.row(pick))
            risen = (best > had).nonzero()[:, 0]
            if 2 * len(risen) > len(best):  # every pair is computed once there, a risen row's with all
                return rises(blocks, best)
            for rows, columns, block in blocks.rows(risen):
                gain[columns] -= block.clamp_(max=best[rows, None]).sub_(had[rows, None]).clamp_(min=0).sum(0)
            return gain

        return greedy(rises(blocks, best), after, tokens, scale, offset, keep)

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is covered yet."""
        similarity, rounder = similarity.contiguous(), arithmetic.magic(similarity)
        best = tokens.features.new_zeros(tokens.shape[:2])
        return _State(similarity, rounder, best, _full_gains(similarity, rounder, best))

    def gain(self, state: _State) -> Tensor:
        """(B, N), at least 0."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """Raise the running maximum; only rows where it rose can change a gain."""
        import torch

        similarity, rounder = state.similarity, state.rounder
        index = pick[:, None, None].expand(-1, similarity.shape[1], 1)
        here = arithmetic.on_grid(similarity.gather(2, index)[..., 0], rounder)
        best = state.best.maximum(here.to(similarity.dtype))
        # as published, half precision re-sums every row, rounding included; and on an accelerator to ask which rows
        # rose would wait for it
        if best.element_size() < 4 or not arithmetic.on_host(best):
            return _State(similarity, rounder, best, _full_gains(similarity, rounder, best))
        count, gains = best.shape[1], state.gains.clone()
        risen = (best > state.best).flatten().nonzero()[:, 0]
        raw = similarity.new_empty(max(1, arithmetic.together(best) // count), count)
        exact = torch.empty_like(raw, dtype=torch.float64)
        new, had = (column.double().flatten()[:, None] for column in (best, state.best))
        # sums are exact on the grid, so gains neither drift over hundreds of picks nor depend on the order
        for few in torch.split(risen, len(raw)):
            torch.index_select(similarity.flatten(0, 1), 0, few, out=raw[: len(few)])
            lost = exact[: len(few)].copy_(raw[: len(few)]).add_(rounder).sub_(rounder)
            lost.clamp_(max=new[few]).sub_(had[few]).clamp_(min=0)
            gains.index_add_(0, few // count, lost, alpha=-1)
        return _State(similarity, rounder, best, gains)


def grid(similarity: Tensor) -> tuple[float, float]:
    """The step of the grid of `arithmetic.magic`, and the largest absolute similarity.

    A step of 0 leaves numbers as they are.
    """
    import torch

    if similarity.element_size() < 4 or not similarity.numel():
        return 0.0, 0.0
    similarity = similarity.detach()
    largest = max(float(similarity.amax()), -float(similarity.amin()))
    if largest == 0:
        return 0.0, 0.0
    step = 2.0 ** (frexp(largest)[1] + similarity.shape[-1].bit_length() - 52)
    # similarities of 1e-25 at most: nothing to round to
    return (0.0, largest) if step < torch.finfo(similarity.dtype).tiny else (step, largest)


def _full_gains(similarity: Tensor, rounder: Tensor, best: Tensor) -> Tensor:
    import torch

    if best.element_size() >= 4:
        return arithmetic.full_gains(similarity, rounder, best)
    # columns a few at a time: their sums are those of the whole, which is never made
    columns = torch.split(similarity, max(1, arithmetic.together(best) // max(1, best.numel())), dim=2)
    return arithmetic.joined([(some - best[:, :, None]).clamp_(min=0).sum(1) for some in columns])
