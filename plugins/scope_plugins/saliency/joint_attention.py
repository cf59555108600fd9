"""Attention from CLS, computed as by a single head of the layer's full width."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from scope_core import TokensError, VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource
from scope_plugins.saliency._rounding import only_rounding


class JointAttentionSpec(ComponentSpec):
    """One softmax over the products of full-width queries and keys, instead of one per head."""

    name: Literal["joint_attention"] = "joint_attention"
    layer: int = -2
    """The layer whose attention is read, counted as in ``hidden_states``: -1 is the last layer."""
    exact: bool = False
    """Read the attention of the full-width head itself, which the tower's queries and keys give, instead of computing
    it from the heads' attention. The two differ by rounding, which matters in half precision; in float32, the signal
    of either may be given."""


class JointAttention(SaliencySource[JointAttentionSpec]):
    """The patches that all heads of CLS agree on.

    Use it to repeat PruMerge; `cls_attention` adds up the heads instead.

    ``a_j = softmax_j(q_cls . k_j / sqrt(H d))`` with the queries and keys of all heads concatenated. Since ``q . k`` is
    the sum over heads of ``sqrt(d) log a_hj``, up to a constant, the attention of each head is enough:
    ``a_j = softmax_j(sum_h log a_hj / sqrt(H))``. The attention that a head does not give to candidates is one more key
    of the softmax, which stands for CLS (and for register tokens and excluded patches). An attention that underflowed
    to 0 counts as the smallest positive number. Source: PruMerge, arXiv 2403.15388, equation 3.
    """

    @property
    def needs(self) -> frozenset[str]:
        """The CLS attention of one layer."""
        return frozenset({f"vision.{'joint' if self.spec.exact else 'cls'}_attention[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, 1]; the sum over a tile is less than 1, since CLS has a share.

        Raises:
            TokensError: CLS takes all of it, so that the shares of a tile's tokens are too small for the dtype.
        """
        joint, by_head = f"vision.joint_attention[{self.spec.layer}]", f"vision.cls_attention[{self.spec.layer}]"
        if self.spec.exact and not only_rounding(joint, by_head, tokens):
            return tokens.signal(joint)
        given = tokens.signal(by_head)
        attention = given if given.element_size() >= 4 else given.float()
        smallest, heads = torch.finfo(attention.dtype).tiny, attention.shape[1]
        logits = attention.clamp(min=smallest).log().sum(1) / heads**0.5
        saliency = torch.zeros_like(logits)
        for group, valid in enumerate(tokens.valid):
            places = tokens.image[group] * (int(tokens.tile[group].max()) + 1) + tokens.tile[group]
            for place in torch.unique(places[valid]):  # each tile has its own softmax
                in_tile = (places == place) & valid
                rest = (1 - attention[group][:, in_tile].sum(1)).clamp(min=smallest)
                with_cls = torch.cat([rest.log().sum()[None] / heads**0.5, logits[group, in_tile]])
                shares = with_cls.softmax(0)[1:].to(given.dtype)
                if float(shares.max()) < torch.finfo(given.dtype).tiny:
                    raise TokensError(
                        f"saliency {self}: CLS of {tokens.name_of(group, int(in_tile.int().argmax()))} and its tile "
                        f"attends to itself so much that the shares of all tokens are too small for "
                        f"{str(given.dtype)[6:]}, so they cannot be told apart; use `dtype: float64`, or another layer"
                    )
                saliency[group, in_tile] = shares.to(saliency.dtype)
        return saliency.to(given.dtype)
