"""CLS attention as one head of the layer's full width would pay it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class JointAttentionSpec(ComponentSpec):
    """One softmax over the products of full-width queries and keys, in place of one per head."""

    name: Literal["joint_attention"] = "joint_attention"
    layer: int = -2
    """Which layer's attention, counted as in ``hidden_states``: -1 is the last layer."""


class JointAttention(SaliencySource[JointAttentionSpec]):
    """``a_j = softmax_j(q_cls . k_j / sqrt(H d))`` with the heads' queries and keys side by side.

    ``q . k`` is the sum over heads of ``sqrt(d) log a_hj`` and a constant, so the heads' own attention is enough:
    ``a_j = softmax_j(sum_h log a_hj / sqrt(H))``. What each head leaves over goes to CLS, which is one more key of the
    softmax (with register tokens, or patches that are no candidates, all of them together). An attention that
    underflowed to 0 counts as the smallest positive number. Source: PruMerge, arXiv 2403.15388, equation 3.
    """

    @property
    def needs(self) -> frozenset[str]:
        """One layer's CLS attention."""
        return frozenset({f"vision.cls_attention[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 1]; sums to less than 1 over a tile, as CLS takes its share."""
        given = tokens.signal(f"vision.cls_attention[{self.spec.layer}]")
        attention = given if given.element_size() >= 4 else given.float()
        smallest, heads = torch.finfo(attention.dtype).tiny, attention.shape[1]
        logits = attention.clamp(min=smallest).log().sum(1) / heads**0.5
        made = torch.zeros_like(logits)
        for group, valid in enumerate(tokens.valid):
            places = tokens.image[group] * (int(tokens.tile[group].max()) + 1) + tokens.tile[group]
            for place in torch.unique(places[valid]):  # every tile has a softmax of its own
                here = (places == place) & valid
                left = (1 - attention[group][:, here].sum(1)).clamp(min=smallest)
                with_cls = torch.cat([left.log().sum()[None] / heads**0.5, logits[group, here]])
                made[group, here] = with_cls.softmax(0)[1:]
        return made.to(given.dtype)
