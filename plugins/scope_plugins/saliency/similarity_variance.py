"""Variance of a token's similarities to the others."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores, similarities


class SimilarityVarianceSpec(ComponentSpec):
    """Variance over the other tokens of the group, by itself or scaled and added to another saliency."""

    name: Literal["similarity_variance"] = "similarity_variance"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""
    base: Annotated[ComponentSpec | None, Slot("saliency", optional=True)] = None
    """A saliency to add the variance to, rescaled to its mean over the group; null for the variance alone."""
    weight: Annotated[float, Field(ge=0)] = 0.09
    """Weight of the rescaled variance; ignored without a base."""


class SimilarityVariance(SaliencySource[SimilarityVarianceSpec]):
    """Tokens that are like some tokens and unlike others, which says more about the context than a uniform area.

    Use it to weigh parts of an image, as HoloV does, rather than single tokens.

    ``v_j = mean_{i != j} (S_ij - mean_{i != j} S_ij)^2``; with a base b, ``b_j + weight v_j mean|b| / mean v``.
    Groups of one token, and of equal similarities, have variance 0. In half precision, similarities and the base are
    rounded, but everything computed from them is float32, as in HoloV's release. Source: HoloV, arXiv 2510.02912.
    """

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N), at least 0 if the base is."""
        half = tokens.features.element_size() < 4
        valid = tokens.valid if tokens.padded else tokens.valid[:1]  # rows that are all the same
        valid = valid.to(torch.float32 if half else tokens.features.dtype)
        alone = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)
        pairs = (valid[:, :, None] * valid[:, None, :]).masked_fill(alone, 0)
        similarity = similarities(self.parts["similarity"], tokens)
        similarity = (similarity.float() if half else similarity).masked_fill(pairs == 0, 0)
        others = pairs.sum(1).clamp(min=1)
        mean = similarity.sum(1) / others
        variance: Tensor = (similarity - mean[:, None, :]).square_().mul_(pairs).sum(1) / others
        if self.spec.base is None:
            return variance
        base = scores(self.parts["base"], tokens)
        base = base.float() if half else base
        spread = (variance * valid).sum(1, keepdim=True)
        scale = (base.abs() * valid).sum(1, keepdim=True) / spread.masked_fill(spread == 0, 1)
        total: Tensor = base + self.spec.weight * variance * scale
        return total
