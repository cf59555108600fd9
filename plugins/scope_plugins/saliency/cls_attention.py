"""Attention from the tower's CLS token to each patch."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class ClsAttentionSpec(ComponentSpec):
    """Attention from CLS to each patch at one layer of the tower."""

    name: Literal["cls_attention"] = "cls_attention"
    layer: int = -2
    """The layer whose attention is read, counted as in ``hidden_states``: -1 is the last layer."""
    heads: Literal["sum", "mean", "max"] = "sum"
    """The combination of heads."""


class ClsAttention(SaliencySource[ClsAttentionSpec]):
    """The patches that the tower itself attends to when it summarises the image.

    Use it for towers with a CLS token, such as CLIP's.

    ``a_j = sum_h softmax(q_cls k^T / sqrt(d))_hj`` over all keys, without the CLS column.
    Source: SCOPE, arXiv 2510.24214 (its release reads ``attentions[-2]`` and sums over heads).
    """

    reach = (0, 0)
    copies = 0

    @property
    def needs(self) -> frozenset[str]:
        """The CLS attention of one layer."""
        return frozenset({f"vision.cls_attention[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise."""
        attention = tokens.signal(f"vision.cls_attention[{self.spec.layer}]")
        if self.spec.heads == "sum":
            return attention.sum(1)
        return attention.mean(1) if self.spec.heads == "mean" else attention.amax(1)
