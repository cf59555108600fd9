"""Saliency inside the similarity: the kernel of a conditional determinantal point process."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import Combiner, ComponentSpec
from scope_plugins.combiner._power import power


class KernelSpec(ComponentSpec):
    """Similarity weighted by the saliency of both tokens; the score is the gain alone."""

    name: Literal["kernel"] = "kernel"
    theta: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Null: the weight of a token is its saliency. Otherwise it is ``exp(theta / (2 (1 - theta)) * saliency)``: 0
    uses similarity alone, and towards 1 saliency dominates."""
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the weighted similarity, beside the similarity itself: ``(1 - share) S_ij + share r_i S_ij r_j``. 0
    reads no saliency; OpenVINO calls it ``relevance_weight``."""
    plain: bool = False
    """Multiply by the row's weight first and then by the column's, in float32 at least, as published code does: the
    matrix is then symmetric up to rounding only."""


class Kernel(Combiner[KernelSpec]):
    """Relevant tokens that differ from each other, both expressed in one matrix.

    Use it with the coverage `log_det`, whose gain is then ``2 log r_j`` plus the gain for S alone.

    The coverage function reads ``L_ij = r_i S_ij r_j`` in place of S, and ``score_j = g_j``. Weights scale rows and
    columns alike, so L is symmetric positive semi-definite if S is; so is the sum of S and L that ``share`` makes.
    Sources: CDPruner, arXiv 2506.10967 (theta: Chen, Zhang, Zhou, NeurIPS 2018; off in its release); OpenVINO GenAI,
    option relevance_weight (share).
    """

    matrices = 1

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) the weights r.

        Raises:
            TokensError: without theta, a valid token's saliency is negative; or the square of a weight is too large.
        """
        if self.spec.theta is None:
            weights = power(saliency, 1.0, tokens, str(self))
        else:
            weights = (self.spec.theta / (2 * (1 - self.spec.theta)) * saliency.masked_fill(~tokens.valid, 0)).exp()
        if self.spec.plain and weights.element_size() < 4:
            weights = weights.float()
        squares = weights * weights
        if bool(((squares < torch.finfo(squares.dtype).tiny) & (weights > 0) & tokens.valid).any()):
            weights = weights.double()
        over = torch.isinf(squares) & tokens.valid
        if bool(over.any()):
            group, token = (int(i) for i in over.nonzero()[0])
            how = "" if self.spec.theta is None else f" with theta {self.spec.theta}"
            raise TokensError(
                f"combiner {self}: saliency {float(saliency[group, token]):.4g} of {tokens.name_of(group, token)} "
                f"gives a weight{how} whose square exceeds the range of {str(weights.dtype)[6:]}; scale it with the "
                f"saliency 'scaled'{'' if self.spec.theta is None else ', or lower theta'}"
            )
        return weights

    def condition(self, similarity: Tensor, saliency: Tensor) -> Tensor:
        """(B, N, N) ``r_i S_ij r_j``, exactly symmetric where S is, unless ``plain``."""
        if self.spec.plain:
            weighted = (saliency[:, :, None] * similarity).mul_(saliency[:, None, :])
            return weighted if self.spec.share == 1 else weighted * self.spec.share + similarity * (1 - self.spec.share)
        weights = saliency[:, :, None] * saliency[:, None, :]
        if self.spec.share < 1:
            weights = weights.mul_(self.spec.share).add_(1 - self.spec.share)
        return weights.mul_(similarity) if weights.dtype == similarity.dtype else weights * similarity

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset of the gain."""
        return torch.ones_like(saliency), torch.zeros_like(saliency)

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the gain."""
        return gain
