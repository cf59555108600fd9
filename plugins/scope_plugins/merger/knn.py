"""The nearest neighbours of each kept token are added to it, weighted by saliency."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import Selection
from scope_core.parts import ComponentSpec, Merger, Slot, scores, similarity_rows
from scope_plugins.merger._targets import kept_rows


class KnnSpec(ComponentSpec):
    """The k nearest neighbours of each kept token, other kept tokens included."""

    name: Literal["knn"] = "knn"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""
    saliency: Annotated[ComponentSpec, Slot("saliency")]
    """Weight of each neighbour."""
    neighbours: Annotated[int, Field(ge=0)] = 32
    """Number of neighbours; all other tokens if there are fewer."""
    normalise: bool = False
    """Divide the neighbours' sum by the sum of their weights."""


class Knn(Merger[KnnSpec]):
    """Every kept token takes in the tokens around it, salient ones more than others.

    Use it where a few tokens should stand for their whole neighbourhood, as in PruMerge. A token may be a neighbour of
    several kept ones.

    ``y_k = x_k + sum_{j in NN(k)} a_j x_j``, where NN(k) are the most similar other tokens; ties to the lowest index.
    Source: PruMerge, arXiv 2403.15388, algorithm 1 and its release.
    """

    def weights(self, selection: Selection) -> Tensor:
        """(B, K, N) weights: 1 for the kept token, and the saliency of its neighbours."""
        tokens, rows = selection.tokens, kept_rows(selection)
        itself, real = rows > 0, rows.sum(2) > 0
        near = similarity_rows(self.parts["similarity"], tokens, selection.arranged)
        allowed = tokens.valid[:, None, :] & ~itself & real[..., None]
        chosen = _highest(near.masked_fill(~allowed, -torch.inf), self.spec.neighbours) & allowed
        saliency = scores(self.parts["saliency"], tokens).to(rows.dtype)
        others = chosen * saliency.masked_fill(~tokens.valid, 0)[:, None, :]
        if self.spec.normalise:
            total = others.double().sum(2, keepdim=True)  # half precision may overflow
            others = (others / total.masked_fill(total == 0, 1)).to(rows.dtype)
        return rows + others


def _highest(rows: Tensor, count: int) -> Tensor:
    """(B, K, N) bool: the ``count`` highest of each row, ties to the lowest index."""
    count = min(count, rows.shape[2])
    if not count or not rows.numel():
        return torch.zeros_like(rows, dtype=torch.bool)
    least = rows.topk(count, dim=2).values[..., -1:]
    above, equal = rows > least, rows == least
    wanted = count - above.sum(2, keepdim=True)
    if bool((equal.sum(2, keepdim=True) > wanted).any()):
        equal &= equal.cumsum(2) <= wanted
    return above | equal
