"""Attention that each patch receives from all tokens; for towers without a CLS token."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class ReceivedAttentionSpec(ComponentSpec):
    """Attention that each patch receives at one layer of the tower, mean over all queries."""

    name: Literal["received_attention"] = "received_attention"
    layer: int = -2
    """The layer whose attention is read, counted as in ``hidden_states``: -1 is the last layer."""
    heads: Literal["sum", "mean", "max"] = "sum"
    """The combination of heads."""


class ReceivedAttention(SaliencySource[ReceivedAttentionSpec]):
    """The patches that the other patches attend to.

    Use it for towers without a CLS token, such as SigLIP's, or to read middle layers as HiPrune does.

    ``a_j = sum_h mean_i softmax(q_i k^T / sqrt(d))_hj``. Source: HiPrune, arXiv 2508.00553.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The received attention of one layer."""
        return frozenset({f"vision.received_attention[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise."""
        attention = tokens.signal(f"vision.received_attention[{self.spec.layer}]")
        if self.spec.heads == "sum":
            return attention.sum(1)
        return attention.mean(1) if self.spec.heads == "mean" else attention.amax(1)
