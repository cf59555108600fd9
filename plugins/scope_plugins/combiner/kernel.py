"""Saliency inside the similarity: the kernel of a conditional determinantal point process."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import Combiner, ComponentSpec
from scope_plugins.combiner._power import power


class KernelSpec(ComponentSpec):
    """Similarity weighted by the saliency of both tokens; the gain alone is the score."""

    name: Literal["kernel"] = "kernel"
    theta: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Null: the weight of a token is its saliency. Otherwise ``exp(theta / (2 (1 - theta)) * saliency)``, which
    balances the two: 0 is similarity alone, towards 1 saliency decides."""


class Kernel(Combiner[KernelSpec]):
    """``L_ij = r_i S_ij r_j`` goes to the coverage function, and ``score_j = g_j``.

    With `log_det` the gain is ``2 log r_j`` plus that of S: relevance and diversity in one determinant. A weight
    scales rows and columns alike, so a symmetric positive semi-definite similarity stays one.
    Source: CDPruner, arXiv 2506.10967 (theta: Chen, Zhang, Zhou, NeurIPS 2018; off in its release).
    """

    matrices = 1

    def prepare(self, saliency: Tensor, tokens: VisualTokens) -> Tensor:
        """(B, N) the weights r.

        Raises:
            TokensError: without theta, a valid token's saliency is negative.
        """
        if self.spec.theta is None:
            return power(saliency, 1.0, tokens, str(self))
        return (self.spec.theta / (2 * (1 - self.spec.theta)) * saliency.masked_fill(~tokens.valid, 0)).exp()

    def condition(self, similarity: Tensor, saliency: Tensor) -> Tensor:
        """(B, N, N) ``r_i S_ij r_j``, exactly symmetric where S is."""
        weights = saliency[:, :, None] * saliency[:, None, :]
        return weights.mul_(similarity) if weights.dtype == similarity.dtype else weights * similarity

    def affine(self, saliency: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset of the gain."""
        return torch.ones_like(saliency), torch.zeros_like(saliency)

    def combine(self, gain: Tensor, saliency: Tensor) -> Tensor:
        """(B, N) the gain."""
        return gain
