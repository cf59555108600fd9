"""Graph cut: similarity of the kept tokens to all, minus their similarity to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from scope_core import ComponentSpec
from scope_plugins.coverage._ranked import Ranked

if TYPE_CHECKING:
    from torch import Tensor

    from scope_core import VisualTokens


class GraphCutSpec(ComponentSpec):
    """Similarity of the kept tokens to all, minus their similarity to each other."""

    name: Literal["graph_cut"] = "graph_cut"
    balance: Annotated[float, Field(gt=0)] = 2.0
    """Weight of the first part; from 2 on no gain is negative."""


@dataclass
class _State:
    both: Tensor  # (B, N, N): S + S^T
    gains: Tensor  # (B, N)


class GraphCut(Ranked[GraphCutSpec]):
    """``f(A) = b sum_{i in V, j in A} S_ij - sum_{i, j in A} S_ij``, in float64.

    Submodular for similarities of at least 0, which it asks for; monotone for ``b >= 2`` and symmetric ones.
    Source: Lin and Bilmes, "A class of submodular functions for document summarization", ACL 2011.
    """

    submodular = True
    nonnegative_similarity = True
    matrices = 4
    change = "minus"

    def rows(self, similarity: Tensor, tokens: VisualTokens) -> tuple[Tensor, Tensor]:
        """What `start` has."""
        state = self.start(similarity, tokens)
        return state.both, state.gains

    def start(self, similarity: Tensor, tokens: VisualTokens) -> _State:
        """``g_j = b sum_i S_ij - S_jj``."""
        matrix = similarity.double()
        return _State(matrix + matrix.mT, self.spec.balance * matrix.sum(1) - matrix.diagonal(dim1=1, dim2=2))

    def gain(self, state: _State) -> Tensor:
        """(B, N)."""
        return state.gains

    def add(self, state: _State, pick: Tensor) -> _State:
        """``g_j`` falls by ``S_jp + S_pj``."""
        index = pick[:, None, None].expand(-1, 1, state.both.shape[2])
        return _State(state.both, state.gains - state.both.gather(1, index)[:, 0])
