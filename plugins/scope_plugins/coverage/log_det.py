"""Log-determinant: the volume that the kept tokens span."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NoReturn

import torch
from pydantic import Field
from torch import Tensor

from scope_core import SpecError, VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.log_det import LogDetKernel

BLOCK = 64
"""Rows of the factor that are allocated, and multiplied, together."""


class LogDetSpec(ComponentSpec):
    """Log-determinant of the similarity of the kept tokens, the likelihood of a determinantal point process (DPP)."""

    name: Literal["log_det"] = "log_det"
    ridge: Annotated[float, Field(ge=0)] = 0.0
    """Added to the diagonal. 0 is the DPP; a larger value penalises tokens that resemble kept ones less."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    factor: list[Tensor]  # (B, BLOCK, N) float64 each: one row per pick, its covariances given the picks before
    scratch: Tensor  # (B, BLOCK, N) float64
    pivots: Tensor  # (B, t) float64: each pick's variance given the picks before it
    variance: Tensor  # (B, N) float64: each token's variance given the picks
    floor: Tensor  # (B, N): variances up to this are rounding errors


class LogDet(CoverageFunction[LogDetSpec]):
    """Kept tokens that differ as much as possible from each other, taken together.

    Use it for diversity: a token that the kept ones can be combined into adds nothing. With the combiner `kernel`,
    tokens are weighted by their saliency.

    Defined for symmetric positive semi-definite similarities (cosine, dot product, spatial); submodular, but a gain may
    be negative. ``f(A) = log det(S_A + ridge I)``; gain ``log(S_jj + ridge - S_jA (S_A + ridge I)^-1 S_Aj)``, in
    float64. A token that depends linearly on kept ones has the logarithm of the smallest number as its gain: such
    tokens come last, by index. One row of a factor ``L D L^T`` per pick makes greedy selection exact in O(N K^2); the
    factor has no square roots and is summed in the order of picks, so that compiled code rounds as torch does.
    Source: CDPruner, arXiv 2506.10967; Chen, Zhang, Zhou, "Fast greedy MAP inference for DPPs", NeurIPS 2018.
    """

    submodular = True
    matrices = 2  # the factor has K x N float64 numbers: two float32 matrices if all tokens are picked
    kernel = LogDetKernel()

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is kept: every token has its full variance.

        Raises:
            SpecError: the similarity is not symmetric, or a token's similarity to itself is negative.
        """
        variance, floor = self._variance(similarity, tokens)
        scratch = variance.new_empty(len(variance), BLOCK, variance.shape[1])
        return _State(similarity.detach(), [], scratch, variance[:, :0], variance, floor)

    def gain(self, state: _State) -> Tensor:
        """(B, N) logarithm of each token's variance given the picks."""
        return _positive(state.variance, state.floor).log()

    def add(self, state: _State, pick: Tensor) -> _State:
        """One more row of the factor.

        Raises:
            SpecError: a variance falls below 0, so the similarity is not positive semi-definite. On an accelerator the
                token's gain becomes NaN instead.
        """
        rows, count = torch.arange(len(pick), device=pick.device), state.pivots.shape[1]
        left = state.variance[rows, pick]
        spent = left <= state.floor[rows, pick]
        pivot, known = left.masked_fill(spent, 1), torch.zeros_like(state.variance)
        for number, block in enumerate(state.factor):
            pivots = state.pivots[:, number * BLOCK : (number + 1) * BLOCK]
            some, terms = block[:, : pivots.shape[1]], state.scratch[:, : pivots.shape[1]]
            torch.mul(some, (some[rows, :, pick] / pivots)[:, :, None], out=terms)
            terms[:, 0] += known
            known = terms.cumsum_(1)[:, -1].clone()  # adds up in order; `sum` does not
        row = state.similarity[rows, pick] - known
        row[rows, pick] = left
        row = row.masked_fill(spent[:, None], 0)
        variance = state.variance - row * row / pivot[:, None]
        variance[rows, pick] = 0
        # includes the rounding of entries: a token's variance may underflow where its covariances do not
        rounding = (1000 * state.floor).maximum(state.floor.amax(1, keepdim=True))
        short = variance < -rounding
        if not arithmetic.on_host(variance.device):
            variance = variance.masked_fill(short, torch.nan)  # the optimizer refuses NaN; checking here would wait
        elif bool(short.any()):
            self.refuse("is not positive semi-definite")
        if count == len(state.factor) * BLOCK:
            state.factor.append(row.new_empty(len(row), BLOCK, row.shape[1]))
        state.factor[-1][:, count % BLOCK] = row
        return replace(state, pivots=torch.cat([state.pivots, pivot[:, None]], 1), variance=variance)

    def _variance(self, similarity: Tensor, tokens: VisualTokens) -> tuple[Tensor, Tensor]:
        """(B, N) float64 variances, and the rounding errors up to which they count as 0; checks the matrix."""
        rounding = torch.finfo(similarity.dtype).eps
        if similarity.numel():
            size = similarity.amax((1, 2)).maximum(-similarity.amin((1, 2))).double()
            if bool((_asymmetry(similarity).double() > 64 * rounding * size).any()):
                self.refuse("is not symmetric")
        variance = similarity.detach().diagonal(dim1=1, dim2=2).double()
        if bool((variance < 0).any()):
            self.refuse(f"of a token to itself is {float(variance.min()):.4g}")
        variance = (variance + self.spec.ridge).masked_fill(~tokens.valid, 0)
        return variance, 16 * rounding * variance

    def refuse(self, what: str) -> NoReturn:
        """Refuse a similarity that the function is not defined for.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"coverage {self} is defined for symmetric positive semi-definite similarities, but the similarity {what}; "
            f"choose e.g. 'cosine' or 'spatial', or another coverage"
        )


def _positive(variance: Tensor, floor: Tensor) -> Tensor:
    """The variance where it exceeds rounding errors, else the smallest positive number."""
    return variance.masked_fill(variance <= floor, torch.finfo(torch.float64).tiny)


def _asymmetry(similarity: Tensor) -> Tensor:
    """(B,) the largest ``S_ij - S_ji``; a few rows at a time."""
    most, count = similarity.new_zeros(len(similarity)), similarity.shape[1]
    few = max(1, arithmetic.block_size(similarity) // (len(similarity) * count))
    for rows, columns in zip(torch.split(similarity, few, dim=1), torch.split(similarity, few, dim=2), strict=True):
        most = most.maximum((rows - columns.mT).amax((1, 2)))
    return most
