"""Log-determinant as published code computes it, in float32: where kept tokens span the rest, rounding decides."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction

BLOCK = 64
"""Rows of the factor that are allocated together."""


class LogDetFloat32Spec(ComponentSpec):
    """Greedy maximisation of a determinant by an incremental Cholesky factor in float32."""

    name: Literal["log_det_float32"] = "log_det_float32"


@dataclass
class _State:
    similarity: Tensor  # (B, N, N) float32
    factor: Tensor  # (T, B, N) float32: one row per pick, rows from ``picks`` on are not used yet
    picks: int
    variance: Tensor  # (B, N) float32: each token's variance given the picks


class LogDetFloat32(CoverageFunction[LogDetFloat32Spec]):
    """Kept tokens that differ as much as possible from each other, with the rounding of CDPruner's release.

    Use it to repeat that release; `log_det` is exact and faster. The two pick the same tokens until the kept ones span
    the others up to rounding, as soon as K exceeds the rank of the similarity. From there on `log_det` takes tokens by
    index, and this one those whose rounding error is largest.

    The gain is the variance itself, ``d_j``, whose logarithm is the gain of `log_det`; it may be slightly negative.
    After pick j: ``e = (S_j - sum_t c_tj c_t) / sqrt(d_j)``, ``d -= e^2``. The release divides by the root of a
    variance that is not positive and from then on compares NaN; here such a pick changes no variance.
    Source: CDPruner, arXiv 2506.10967, algorithm 1, after Chen, Zhang, Zhou, NeurIPS 2018.
    """

    matrices = 2  # the factor has K x N numbers, and similarities of half precision are copied

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """Nothing is kept: every token has its full variance."""
        similarity = similarity.detach().float()
        variance = similarity.diagonal(dim1=1, dim2=2).clone()
        return _State(similarity, similarity.new_empty(0, *variance.shape), 0, variance)

    def gain(self, state: _State) -> Tensor:
        """(B, N) float32 variances."""
        return state.variance

    def add(self, state: _State, pick: Tensor) -> _State:
        """One more row of the factor."""
        factor, known, groups = state.factor, state.picks, torch.arange(len(pick), device=pick.device)
        left = state.variance[groups, pick]
        spent = ~(left > 0)
        explained = torch.einsum("tb,tbn->bn", factor[:known, groups, pick], factor[:known])
        root = left.masked_fill(spent, 1).sqrt()[:, None]
        row = ((state.similarity[groups, pick] - explained) / root).masked_fill(spent[:, None], 0)
        if known == len(factor):
            factor = torch.cat([factor, factor.new_empty(BLOCK, *row.shape)])
        factor[known] = row
        return replace(state, factor=factor, picks=known + 1, variance=state.variance - row.square())
