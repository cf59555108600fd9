"""Graph cut: similarity of the kept tokens to all, minus their similarity to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, CoverageFunction
from scope_plugins.coverage._fast import arithmetic
from scope_plugins.coverage._fast.graph_cut import GraphCutKernel


class GraphCutSpec(ComponentSpec):
    """Similarity of the kept tokens to all, minus their similarity to each other."""

    name: Literal["graph_cut"] = "graph_cut"
    balance: Annotated[float, Field(gt=0)] = 2.0
    """Weight of the similarity to all tokens; from 2 on, no gain is negative."""


@dataclass
class _State:
    similarity: Tensor  # (B, N, N)
    gains: Tensor  # (B, N) float64


class GraphCut(CoverageFunction[GraphCutSpec]):
    """Tokens that are like many others but not like those already kept.

    Use it where kept tokens should be typical of the image, with a stated penalty for repetition.

    Submodular for similarities of at least 0, which it requires; also monotone if they are symmetric and ``b >= 2``.
    ``f(A) = b sum_{i in V, j in A} S_ij - sum_{i, j in A} S_ij``, in float64.
    Source: Lin and Bilmes, "A class of submodular functions for document summarization", ACL 2011.
    """

    submodular = True
    nonnegative_similarity = True
    matrices = 0
    kernel = GraphCutKernel(minimum=False, row=1, column=1)

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """``g_j = b sum_i S_ij - S_jj``."""
        diagonal = similarity.diagonal(dim1=1, dim2=2).double()
        total = diagonal.new_zeros(diagonal.shape)
        for rows in arithmetic.blocks(similarity):
            total += rows.double().sum(1)
        return _State(similarity, self.spec.balance * total - diagonal)

    def gain(self, state: _State) -> Tensor:
        """(B, N)."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """``g_j`` falls by ``S_jp + S_pj``."""
        groups = torch.arange(len(pick), device=pick.device)
        row, column = state.similarity[groups, pick].double(), state.similarity[groups, :, pick].double()
        return _State(state.similarity, state.gains - (row + column))
