"""Similarity of each token to the prompt's text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class TextRelevanceSpec(ComponentSpec):
    """Similarity of each patch to the text, in CLIP's shared space."""

    name: Literal["text_relevance"] = "text_relevance"
    sign: Literal["negative", "positive"] = "negative"
    """Sign of the cosine. CLIP's patches that show what the text names tend to have the *lower* cosine, so published
    code negates it; use ``positive`` for towers where they have the higher one."""
    chunks: Literal["mean", "max"] = "mean"
    """The combination of several chunks of a long text."""


class TextRelevance(SaliencySource[TextRelevanceSpec]):
    """The patches that the question is about.

    Use it with models whose text encoder shares the tower's space, such as CLIP.

    ``a_j = mean_t -cos(x_j, text_t)``, or without the minus. Chunks whose similarities are all 0 are padding. A prompt
    without text makes all tokens equally relevant.
    Source: CDPruner, arXiv 2506.10967 (the minus is deliberate in its release).
    """

    nonnegative = False

    @property
    def needs(self) -> frozenset[str]:
        """The cosines, computed by the host."""
        return frozenset({"clip.text_similarity"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [-1, 1]."""
        similarity = tokens.signal("clip.text_similarity")  # (B, T, N)
        if self.spec.sign == "negative":
            similarity = -similarity
        real = ((similarity != 0) & tokens.valid[:, None, :]).any(2)  # (B, T)
        if self.spec.chunks == "mean":
            total = similarity.masked_fill(~real[:, :, None], 0).sum(1)
            return total / real.sum(1).clamp(min=1)[:, None]
        lowest = torch.full_like(similarity[:, :1], -torch.inf)
        best = torch.cat([lowest, similarity.masked_fill(~real[:, :, None], -torch.inf)], 1).amax(1)
        return best.masked_fill(~real.any(1)[:, None], 0)
