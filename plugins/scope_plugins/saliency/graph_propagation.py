"""Information that flows along a graph of similar tokens."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource, Slot, scores, similarities


class GraphPropagationSpec(ComponentSpec):
    """A saliency that is passed on along edges between similar tokens, over the number of edges."""

    name: Literal["graph_propagation"] = "graph_propagation"
    of: Annotated[ComponentSpec, Slot("saliency")] = "feature_norm"  # type: ignore[assignment]  # a part's bare name
    """The saliency that tokens start with, at least 0."""
    similarity: Annotated[ComponentSpec, Slot("similarity")] = "cosine"  # type: ignore[assignment]
    """Similarity of two tokens."""
    threshold: float = 0.5
    """Tokens of at least this similarity have an edge."""
    temperature: Annotated[float, Field(gt=0)] = 0.03
    """Temperature of the softmax that divides what a token passes on among its edges."""
    steps: Annotated[int, Field(ge=0, le=100)] = 5
    """Number of times that all tokens pass on what they have."""


class GraphPropagation(SaliencySource[GraphPropagationSpec]):
    """Tokens that many similar tokens agree on, of foreground and background alike.

    Use it without attention, where salient tokens alone would leave out the background: large uniform areas count by a
    few tokens, since each token's sum is divided by the number of its neighbours.

    ``a = w P^steps / degree``: ``w`` is the starting saliency, ``P_ij = softmax_j(S_ij / temperature)`` over the edges
    of token i, and ``degree_i`` their number, the token itself included. Source: G-Prune, AAAI 2025.
    """

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]  # depends on the options
        """True if the starting saliency is."""
        return bool(self.parts["of"].nonnegative)

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in the range of the starting saliency times N."""
        matrix = similarities(self.parts["similarity"], tokens)
        # 1 for pairs without an edge; comparing into booleans, and masking by them, takes ten times as long
        apart = torch.lt(matrix, self.spec.threshold, out=torch.empty_like(matrix))
        if tokens.padded:
            apart.masked_fill_(~(tokens.valid[:, :, None] & tokens.valid[:, None, :]), 1)
        apart.diagonal(dim1=1, dim2=2).fill_(0)
        lowest = torch.finfo(matrix.dtype).min  # of which softmax makes 0
        passed = (matrix / self.spec.temperature).add_(apart, alpha=lowest).softmax(2)
        score = scores(self.parts["of"], tokens).masked_fill(~tokens.valid, 0).to(passed.dtype)
        for _ in range(self.spec.steps):
            score = (score[:, None] @ passed)[:, 0]
        return score / (tokens.shape[1] - apart.sum(2, dtype=torch.float64).long())
