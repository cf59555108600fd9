"""Attention that each patch receives from all tokens; for towers without a CLS token."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator
from torch import Tensor
from typing_extensions import Self

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins.saliency._rounding import only_rounding


class ReceivedAttentionSpec(ComponentSpec):
    """Attention that each patch receives at one layer of the tower, mean over all queries."""

    name: Literal["received_attention"] = "received_attention"
    layer: int = -2
    """The layer whose attention is read, counted as in ``hidden_states``: -1 is the last layer."""
    heads: Literal["sum", "mean", "max"] = "sum"
    """The combination of heads."""
    first: Literal["queries", "heads"] = "queries"
    """The mean that is taken first; ``heads``, as in HiPrune's release, goes with ``heads: mean``. The two differ by
    rounding, which matters in half precision; in float32, the signal of either may be given."""

    @model_validator(mode="after")
    def _means_alone(self) -> Self:
        if self.first == "heads" and self.heads != "mean":
            raise ValueError(f"first: heads is an order of two means; set heads: mean, not heads: {self.heads}")
        return self


class ReceivedAttention(SaliencySource[ReceivedAttentionSpec]):
    """The patches that the other patches attend to.

    Use it for towers without a CLS token, such as SigLIP's, or to read middle layers as HiPrune does.

    ``a_j = sum_h mean_i softmax(q_i k^T / sqrt(d))_hj``. Source: HiPrune, arXiv 2508.00553.
    """

    reach = (0, 0)
    copies = 0

    @property
    def needs(self) -> frozenset[str]:
        """The received attention of one layer."""
        return frozenset({self._signal})

    @property
    def _signal(self) -> str:
        family = "received" if self.spec.first == "queries" else "mean"
        return f"vision.{family}_attention[{self.spec.layer}]"

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise."""
        by_head = f"vision.received_attention[{self.spec.layer}]"
        if self.spec.first == "heads" and not only_rounding(self._signal, by_head, tokens):
            return tokens.signal(self._signal)
        attention = tokens.signal(by_head)
        if self.spec.heads == "sum":
            return attention.sum(1)
        return attention.mean(1) if self.spec.heads == "mean" else attention.amax(1)
