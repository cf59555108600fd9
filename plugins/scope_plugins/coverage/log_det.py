"""Log-determinant: how much volume the kept tokens span."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import ComponentSpec, CoverageFunction, SpecError
from scope_plugins.coverage import _device

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class LogDetSpec(ComponentSpec):
    """Log-determinant of the similarity of the kept tokens, the likelihood of a determinantal point process (DPP)."""

    name: Literal["log_det"] = "log_det"
    ridge: Annotated[float, Field(ge=0)] = 0.0
    """Added to the diagonal. 0 is the DPP; more makes tokens that depend on kept ones cheaper."""


@dataclass
class _State:
    kernel: Tensor  # (B, N, N) float64
    factor: Tensor  # (B, t, N) rows of the Cholesky factor, one per pick
    variance: Tensor  # (B, N): what is left of each token's variance, given the picks
    floor: Tensor  # (B, N): below this, nothing is left but rounding


class LogDet(CoverageFunction[LogDetSpec]):
    """``f(A) = log det(S_A + ridge I)``; gain ``log(S_jj + ridge - S_jA (S_A + ridge I)^-1 S_Aj)``.

    Defined for symmetric positive semi-definite similarities (cosine, dot product, places); submodular, but a gain may
    be negative. One row of a Cholesky factor per pick makes greedy exact in O(N K^2): Chen, Zhang, Zhou, "Fast greedy
    MAP inference for DPPs", NeurIPS 2018. Computed in float64. A token that depends linearly on kept ones adds nothing:
    its gain is the logarithm of the smallest number, so that such tokens come last, by index.
    Source: CDPruner, arXiv 2506.10967.
    """

    submodular = True
    matrices = 2

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is kept: every token has its whole variance.

        Raises:
            SpecError: the similarity is not symmetric, or one of a token to itself is negative.
        """
        import torch

        rounding = torch.finfo(similarity.dtype).eps
        if similarity.numel():
            apart = similarity - similarity.mT
            size = similarity.amax((1, 2)).maximum(-similarity.amin((1, 2))).double()
            if bool((apart.amax((1, 2)).double() > 64 * rounding * size).any()):  # one of (i, j) and (j, i) is positive
                raise SpecError(self._refusal("is not symmetric"))
            del apart
        kernel = similarity.double()
        variance = kernel.diagonal(dim1=1, dim2=2).clone()
        if bool((variance < 0).any()):
            raise SpecError(self._refusal(f"of a token to itself is {float(variance.min()):.4g}"))
        variance = (variance + self.spec.ridge).masked_fill(~tokens.valid, 0)
        return _State(kernel, kernel.new_zeros(len(kernel), 0, kernel.shape[1]), variance, 16 * rounding * variance)

    def gain(self, state: _State) -> Tensor:
        """(B, N); its exponential is the token's variance that the picks leave unexplained."""
        import torch

        spent = state.variance <= state.floor
        return state.variance.masked_fill(spent, torch.finfo(torch.float64).tiny).log()

    def add(self, state: _State, pick: Tensor) -> _State:
        """One more row of the factor.

        Raises:
            SpecError: a variance falls below 0: the similarity is not positive semi-definite. On an accelerator the
                token's gain becomes NaN instead.
        """
        import torch

        rows = torch.arange(len(pick), device=pick.device)
        left = state.variance[rows, pick]
        spent = left <= state.floor[rows, pick]
        known = torch.einsum("bt,btn->bn", state.factor[rows, :, pick], state.factor)
        row = (state.kernel[rows, pick] - known) / left.masked_fill(spent, 1).sqrt()[:, None]
        row = row.masked_fill(spent[:, None], 0)
        row[rows, pick] = left.clamp(min=0).sqrt()
        row = row.masked_fill(spent[:, None], 0)
        variance = state.variance - row.square()
        variance[rows, pick] = 0
        # rounding of entries counts too: a token's own variance may underflow where its covariances do not
        rounding = (1000 * state.floor).maximum(state.floor.amax(1, keepdim=True))
        short = variance < -rounding
        if not _device.on_host(variance):  # to ask would wait; no number is a score that the optimizer refuses
            variance = variance.masked_fill(short, torch.nan)
        elif bool(short.any()):
            raise SpecError(self._refusal("is not positive semi-definite"))
        return _State(state.kernel, torch.cat([state.factor, row[:, None]], 1), variance, state.floor)

    def _refusal(self, what: str) -> str:
        return (
            f"coverage {self} is defined for symmetric positive semi-definite similarities, and the similarity {what}; "
            f"choose e.g. 'cosine' or 'spatial', or another coverage"
        )
