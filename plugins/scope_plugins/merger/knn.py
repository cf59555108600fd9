"""Each kept token takes in the tokens most like it, weighted by saliency."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot, scores
from scope_plugins.merger._targets import kept_rows


class KnnSpec(ComponentSpec):
    """The k nearest neighbours of each kept token, kept ones included."""

    name: Literal["knn"] = "knn"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """How alike two tokens are."""
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """Weight of each neighbour."""
    neighbours: Annotated[int, Field(ge=0)] = 32
    """How many neighbours, or all others where there are fewer."""
    normalise: bool = False
    """Divide the neighbours' sum by the sum of their weights."""


class Knn(Merger[KnnSpec]):
    """``y_k = x_k + sum_{j in NN(k)} a_j x_j``, NN(k) the most similar other tokens; ties to the lowest index.

    One token may be a neighbour of several. Source: PruMerge, arXiv 2403.15388, algorithm 1 and its release.
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N); 1 for the kept token, the neighbours' saliency."""
        tokens, rows = selection.tokens, kept_rows(selection)
        own, real = rows > 0, rows.sum(2) > 0
        matrix = self.parts["similarity"].pairwise(tokens)
        near = matrix.gather(1, selection.arranged.clamp(min=0)[..., None].expand(-1, -1, tokens.shape[1]))
        allowed = tokens.valid[:, None, :] & ~own & real[..., None]
        order = near.masked_fill(~allowed, -torch.inf).sort(dim=2, descending=True, stable=True).indices
        chosen = torch.zeros_like(own).scatter(2, order[..., : self.spec.neighbours], True) & allowed
        saliency = scores(self.parts["saliency"], tokens).to(rows.dtype)
        others = chosen * saliency.masked_fill(~tokens.valid, 0)[:, None, :]
        if self.spec.normalise:
            total = others.sum(2, keepdim=True)
            others = others / total.masked_fill(total == 0, 1)
        return rows + others
