"""Pieces of tokens that are connected by similarity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, Slot, TokenPartition, similarities


class ComponentsSpec(ComponentSpec):
    """Connected components of the graph of similar tokens."""

    name: Literal["components"] = "components"
    similarity: Annotated[ComponentSpec, Slot("similarity")]
    """Similarity of two tokens."""
    threshold: float = 0.95
    """Two tokens are connected if their similarity is above this."""


class Components(TokenPartition[ComponentsSpec]):
    """Pieces that each show one thing: from any token of a piece to any other there is a path of similar tokens.

    Use it in `quota` to keep one token of each thing, however large it is.

    An edge joins i and j if ``S_ij > threshold`` or ``S_ji > threshold``. Pieces are numbered by their first token. All
    tokens equal: one piece. Source: LLaVA-Scissor, arXiv 2506.21862, whose components are those of a video's tokens.
    """

    def label(self, tokens: VisualTokens, keep: Sequence[int]) -> Tensor:
        """The component of each token."""
        labels = torch.full_like(tokens.row, -1)
        for group, valid in enumerate(tokens.valid):
            index = valid.nonzero().flatten()
            if not len(index):
                continue
            matrix = similarities(self.parts["similarity"], tokens.only(group, tokens.shape[1]))[0]
            near = matrix[index[:, None], index] > self.spec.threshold
            near |= near.T.clone()
            near.fill_diagonal_(True)
            labels[group, index] = torch.unique(_lowest_reachable(near), return_inverse=True)[1]
        return labels


def _lowest_reachable(near: Tensor) -> Tensor:
    """(n,) the lowest index that is connected to each of n tokens; ``near`` is symmetric, with a diagonal."""
    lowest = torch.arange(len(near), device=near.device)
    while True:
        found = torch.where(near, lowest, len(near)).amin(1)
        found = found[found]  # a piece's lowest index is one of its tokens, so a step may go on from there
        if torch.equal(found, lowest):
            return lowest
        lowest = found
