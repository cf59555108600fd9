"""Attention inside the language model by content alone, without positions."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from scope_core import VisualTokens
from scope_core.parts import ComponentSpec, SaliencySource


class ContentAttentionSpec(ComponentSpec):
    """Attention from the text to each visual token, from queries and keys before the rotary embedding."""

    name: Literal["content_attention"] = "content_attention"
    layer: Annotated[int, Field(ge=0)]
    """The decoder layer whose queries and keys are read, counted from 0; at most that of the stage, ``decoder[k]``."""
    queries: Literal["last", "all"] = "last"
    """Attention from the last text token after the image, or the mean over all of them."""
    heads: Literal["mean", "sum", "max"] = "mean"
    """The combination of heads."""


class ContentAttention(SaliencySource[ContentAttentionSpec]):
    """The visual tokens that fit the question, wherever they are.

    Use it inside the language model, where attention favours the end of the image for its position alone.

    ``a_j = mean_h softmax_j(q_i k_j / sqrt(d))`` over the image's tokens, with q and k before the rotary embedding, for
    the last text token i, or averaged over all. Zeros for an image without text after it. Source: FEATHER, ICCV 2025.
    """

    @property
    def needs(self) -> frozenset[str]:
        """Queries of the text and keys of the image in one layer."""
        return frozenset({f"decoder.plain_queries[{self.spec.layer}]", f"decoder.plain_keys[{self.spec.layer}]"})

    def score(self, tokens: VisualTokens) -> Tensor:
        """(B, N) in [0, H] for ``sum``, in [0, 1] otherwise."""
        queries = tokens.signal(f"decoder.plain_queries[{self.spec.layer}]")  # (B, H, M, C)
        keys = tokens.signal(f"decoder.plain_keys[{self.spec.layer}]")  # (B, fewer H, N, C)
        real = queries.ne(0).any(3).any(1)  # (B, M)
        if self.spec.queries == "last":
            place = torch.arange(1, real.shape[1] + 1, device=real.device)
            real = real & ((real * place) == (real * place).amax(1, keepdim=True))
        keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
        logits = (queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5).masked_fill(
            ~tokens.valid[:, None, None], -torch.inf
        )
        share = logits.softmax(3).masked_fill(~(real[:, None, :, None] & tokens.valid[:, None, None]), 0)
        rows: Tensor = share.sum(2) / real.sum(1).clamp(min=1)[:, None, None]
        if self.spec.heads == "sum":
            return rows.sum(1)
        return rows.mean(1) if self.spec.heads == "mean" else rows.amax(1)
