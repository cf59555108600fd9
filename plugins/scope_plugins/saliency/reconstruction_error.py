"""What a few basis tokens cannot express of each token."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class ReconstructionErrorSpec(ComponentSpec):
    """Distance of each token from its best linear combination of basis tokens."""

    name: Literal["reconstruction_error"] = "reconstruction_error"
    basis: Annotated[int, Field(ge=1)] = 10
    """Number of basis tokens; all tokens if there are fewer."""
    ridge: Annotated[float, Field(ge=0)] = 1e-5
    """Added to the diagonal of the basis tokens' products."""
    basis_first: bool = False
    """Score basis tokens above all others, in their order, so that they are kept; their own error is about 0."""


class ReconstructionError(SaliencySource[ReconstructionErrorSpec]):
    """Tokens that carry what a few others, spread over the image, do not.

    Use it without attention, such as with FlashAttention. Basis tokens express the coarse content of the image, so what
    cannot be made of them is detail.

    ``a_j = ||x_j - B^T (B B^T + ridge I)^-1 B x_j||``, B the basis, in float64. The basis is found by farthest-point
    sampling with Euclidean distance, from the token farthest from the mean, where ApET's release draws one at random.
    Source: ApET, CVPR 2026, arXiv 2602.19870.
    """

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0."""
        half = tokens.features.element_size() < 4
        score = tokens.features.new_zeros(tokens.shape[:2], dtype=torch.float32 if half else None)
        for group, valid in enumerate(tokens.valid):
            index = valid.nonzero().flatten()
            if not len(index):
                continue
            features = tokens.features[group, index].double()
            basis = farthest_points(features, min(self.spec.basis, len(index)))
            errors = torch.linalg.vector_norm(self._rest(features, features[basis]), dim=1)
            if self.spec.basis_first:
                above = torch.arange(len(basis), 0, -1, dtype=errors.dtype, device=errors.device)
                errors[basis] = errors.max() + above * errors.max().clamp(min=1)
            score[group, index] = errors.to(score.dtype)
        return score

    def _rest(self, features: Tensor, basis: Tensor) -> Tensor:
        """(n, D) what is left of the features; by singular values, since equal tokens may be in the basis."""
        _, size, directions = torch.linalg.svd(basis, full_matrices=False)
        size = size.masked_fill(size <= torch.finfo(size.dtype).eps * len(basis) * size.max(), 0).square()
        lost = self.spec.ridge / (size + self.spec.ridge) if self.spec.ridge else (size == 0).to(size.dtype)
        inside = features @ directions.T
        rest: Tensor = (features - inside @ directions) + (inside * lost) @ directions
        return rest


def farthest_points(features: Tensor, count: int) -> Tensor:
    """(count,) indices of (n, D) vectors, each the farthest from those before; the first, from the mean."""
    nearest = torch.cdist(features, features.mean(0, keepdim=True))[:, 0]
    found: list[Tensor] = []
    for step in range(count):
        found.append(nearest.argmax())
        distance = torch.linalg.vector_norm(features - features[found[-1]], dim=1)
        nearest = distance if step == 0 else nearest.minimum(distance)
        nearest[torch.stack(found)] = -1  # equal tokens are still different ones
    return torch.stack(found)
